"""A round's report as one HTML page that needs nothing beside itself."""

from collections.abc import Mapping, Sequence
from html import escape

from adaptation.rounds.budget import Budget
from adaptation.rounds.evaluation import Evaluation
from adaptation.rounds.prior import PriorRecord
from adaptation.rounds.record import AdaptationRecord
from adaptation.rounds.report_pictures import Pictures
from exchange.label_space import CLASS_NAMES, PALETTE_RGB

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2330; --soft: #6b7385; --line: #dfe3ea; --paper: #fff;
  --before: #9aa5b8; --after: #2f6fed; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9f0; --soft: #98a1b3; --line: #333a48; --paper: #161a22;
  --before: #5d6880; --after: #6b9bff; } }
body { margin: 2.5rem auto; max-width: 68rem; padding: 0 1.5rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.1rem; margin: 2.4rem 0 .6rem; }
p { color: var(--soft); margin: .3rem 0; max-width: 46rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: 1rem; margin: 1.4rem 0; }
.facts div { border: 1px solid var(--line); border-radius: 8px; padding: .7rem .9rem; }
.facts b { display: block; font-size: 1.25rem; font-weight: 600; } .facts span { color: var(--soft); }
.frames { display: grid; grid-template-columns: repeat(auto-fit, minmax(14rem, 1fr)); gap: .6rem; margin: .6rem 0; }
figure { margin: 0; } img { width: 100%; border-radius: 6px; display: block; }
figcaption { color: var(--soft); font-size: .85rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: right; font-weight: 400; }
th { color: var(--soft); } th:first-child, td:first-child { text-align: left; }
i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .5em; }
.bar { width: 34%; } .bar u { display: block; height: .45em; border-radius: 2px; text-decoration: none; }
svg { width: 100%; height: 11rem; } svg text { fill: var(--soft); font-size: 11px; }
"""


def report_page(
    network: AdaptationRecord,
    prior: PriorRecord,
    budget: Budget,
    histories: Mapping[str, Sequence[Mapping[str, float]]],
    evaluation: Evaluation,
    manifest: str | None,
    pictures: Sequence[Pictures],
) -> str:
    """The whole page; `manifest` is the path of the release's from the page's folder."""
    parts = [
        f"<h1>Adaptation round: {escape(network.recipe)}</h1>",
        f"<p>The plain outputs follow {escape(network.output_prior_is)}. Seed {network.seed}.</p>",
        _release(manifest),
        _facts(network, budget, evaluation),
        "<h2>Frames: labels before and after</h2>",
        *map(_frame_row, pictures),
        "<h2>Prior: source and target</h2>",
        _prior_table(prior),
        "<h2>Classes</h2>",
        _class_table(evaluation),
        *(_curve(title, points) for title, points in histories.items()),
    ]
    head = f'<meta charset="utf-8"><title>Adaptation round</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _release(manifest: str | None) -> str:
    if manifest is None:
        return "<p>No release was built of the network.</p>"
    return f'<p>The release that was built of it: <a href="{escape(manifest)}">{escape(manifest)}</a></p>'


def _facts(network: AdaptationRecord, budget: Budget, evaluation: Evaluation) -> str:
    before, after = evaluation.scores_before, evaluation.scores_after
    facts = []
    if before is not None and after is not None:
        change = f"mean IoU on {after.frames} labelled frames, from {_percent(before.mean_iou)}"
        facts.append((_percent(after.mean_iou), change))
    confidence = f"mean confidence, from {100 * evaluation.mean_confidence_before:.1f} %"
    facts += [
        (f"{100 * evaluation.mean_confidence_after:.1f} %", confidence),
        (f"{100 * evaluation.agreement:.1f} %", "of pixels labelled as before"),
        (str(network.iterations), f"iterations, {budget.rectification_iterations} of them on the head alone"),
        (network.ships, "ships"),
    ]
    boxes = (f"<div><b>{escape(value)}</b><span>{escape(meaning)}</span></div>" for value, meaning in facts)
    return f'<div class="facts">{"".join(boxes)}</div>'


def _frame_row(pictures: Pictures) -> str:
    shown = [("frame", pictures.frame), ("before", pictures.before), ("after", pictures.after)]
    if pictures.truth is not None:
        shown.append(("truth", pictures.truth))
    figures = "".join(
        f'<figure><img src="{url}" alt="{what}"><figcaption>{what}</figcaption></figure>' for what, url in shown
    )
    return f'<div class="frames" title="{escape(pictures.name)}">{figures}</div>'


def _prior_table(prior: PriorRecord) -> str:
    note = (
        f"Estimator: {prior.estimator}, over {prior.frames} frames worth {prior.effective_frames:.0f} independent ones;"
        f" 90 % interval over {prior.resampled}. The log ratio is shrunk by the number of independent frames."
    )
    rows = [
        [
            _class_cell(train_id),
            f"{100 * source:.1f} %",
            f"{100 * target:.1f} %",
            f"{100 * low:.1f} to {100 * high:.1f} %",
            f"{ratio:+.2f}",
            _bars(source, target, max(prior.source + prior.target)),
        ]
        for train_id, (source, target, low, high, ratio) in enumerate(
            zip(prior.source, prior.target, prior.low, prior.high, prior.log_ratio, strict=True)
        )
    ]
    heads = ["class", "source", "target", "interval", "log ratio", "source above, target below"]
    return f"<p>{escape(note)}</p>" + _table(heads, rows)


def _class_table(evaluation: Evaluation) -> str:
    pairs = list(zip(evaluation.shares_before, evaluation.shares_after, strict=True))
    rows = [
        [_class_cell(k), f"{100 * before:.2f} %", f"{100 * after:.2f} %", _bars(before, after, max(map(max, pairs)))]
        for k, (before, after) in enumerate(pairs)
    ]
    shares = _table(["predicted pixels", "before", "after", "before above, after below"], rows)
    if evaluation.scores_before is None or evaluation.scores_after is None:
        return "<p>The target has no labels to score against.</p>" + shares
    after_iou, truth = evaluation.scores_after.iou, evaluation.scores_after.true_pixels
    scored = [
        [
            escape(name),
            _percent(before),
            _percent(after_iou[name]),
            _change(before, after_iou[name]),
            f"{truth[name]:,}",
        ]
        for name, before in evaluation.scores_before.iou.items()
    ]
    means = (evaluation.scores_before.mean_iou, evaluation.scores_after.mean_iou)
    scored.append(["<b>mean</b>", *map(_percent, means), _change(*means), f"{sum(truth.values()):,}"])
    return _table(["IoU", "before", "after", "change", "labelled pixels"], scored) + shares


def _curve(title: str, points: Sequence[Mapping[str, float]]) -> str:
    """The loss over the iterations, as a line from the left edge to the right."""
    losses = [point["loss"] for point in points]
    last, highest = points[-1]["iteration"], max(max(losses), 1e-9)
    places = " ".join(
        f"{1000 * point['iteration'] / last:.1f},{150 - 140 * point['loss'] / highest:.1f}" for point in points
    )
    drawing = (
        '<svg viewBox="0 0 1000 170" preserveAspectRatio="none"><line x1="0" y1="150" x2="1000" y2="150"'
        ' stroke="var(--line)"/><polyline fill="none" stroke="var(--after)" stroke-width="2"'
        f' vector-effect="non-scaling-stroke" points="{places}"/></svg>'
    )
    note = f"From {losses[0]:.3f} to {losses[-1]:.3f} in {last:.0f} iterations; the axis begins at 0."
    return f"<h2>Loss: {escape(title)}</h2><p>{note}</p>{drawing}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _class_cell(train_id: int) -> str:
    red, green, blue = PALETTE_RGB[train_id]
    return f'<i style="background:rgb({red},{green},{blue})"></i>{CLASS_NAMES[train_id]}'


def _bars(before: float, after: float, longest: float) -> str:
    bars = "".join(
        f'<u style="width:{100 * share / max(longest, 1e-9):.1f}%;background:var(--{which})"></u>'
        for share, which in ((before, "before"), (after, "after"))
    )
    return f'<div class="bar" style="width:100%">{bars}</div>'


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _change(before: float | None, after: float | None) -> str:
    return "-" if before is None or after is None else f"{100 * (after - before):+.1f}"
