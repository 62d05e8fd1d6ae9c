"""A round's report as one HTML page that needs nothing beside itself."""

from collections.abc import Mapping, Sequence

from adaptation.learning.export.adaptation_record import AdaptationRecord
from adaptation.learning.rounds.budget import Budget
from adaptation.learning.rounds.evaluation import Evaluation
from adaptation.learning.rounds.prior import PriorRecord
from adaptation.learning.rounds.report_pictures import Pictures
from exchange.label_space import CLASS_NAMES, PALETTE_RGB
from exchange.markup import Html, tag

_STYLE = Html("""<style>
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
</style>""")


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
        tag("h1", None, f"Adaptation round: {network.recipe}"),
        tag("p", None, f"The plain outputs follow {network.output_prior_is}. Seed {network.seed}."),
        _release(manifest),
        _facts(network, budget, evaluation),
        tag("h2", None, "Frames: labels before and after"),
        *map(_frame_row, pictures),
        tag("h2", None, "Prior: source and target"),
        *_prior_table(prior),
        tag("h2", None, "Classes"),
        *_class_table(evaluation),
        *(part for title, points in histories.items() for part in _curve(title, points)),
    ]
    head = tag("head", None, tag("meta", {"charset": "utf-8"}), tag("title", None, "Adaptation round"), _STYLE)
    return "<!doctype html>" + tag("html", {"lang": "en"}, head, tag("body", None, *parts)) + "\n"


def _release(manifest: str | None) -> Html:
    if manifest is None:
        return tag("p", None, "No release was built of the network.")
    beside = {"href": manifest if manifest.startswith((".", "/")) else f"./{manifest}"}
    return tag("p", None, "The release that was built of it: ", tag("a", beside, manifest))


def _facts(network: AdaptationRecord, budget: Budget, evaluation: Evaluation) -> Html:
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
    boxes = (tag("div", None, tag("b", None, value), tag("span", None, meaning)) for value, meaning in facts)
    return tag("div", {"class": "facts"}, *boxes)


def _frame_row(pictures: Pictures) -> Html:
    shown = [("frame", pictures.frame), ("before", pictures.before), ("after", pictures.after)]
    if pictures.truth is not None:
        shown.append(("truth", pictures.truth))
    figures = (
        tag("figure", None, tag("img", {"src": url, "alt": what}), tag("figcaption", None, what)) for what, url in shown
    )
    return tag("div", {"class": "frames", "title": pictures.name}, *figures)


def _prior_table(prior: PriorRecord) -> list[Html]:
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
    return [tag("p", None, note), _table(heads, rows)]


def _class_table(evaluation: Evaluation) -> list[Html]:
    pairs = list(zip(evaluation.shares_before, evaluation.shares_after, strict=True))
    rows = [
        [_class_cell(k), f"{100 * before:.2f} %", f"{100 * after:.2f} %", _bars(before, after, max(map(max, pairs)))]
        for k, (before, after) in enumerate(pairs)
    ]
    shares = _table(["predicted pixels", "before", "after", "before above, after below"], rows)
    if evaluation.scores_before is None or evaluation.scores_after is None:
        return [tag("p", None, "The target has no labels to score against."), shares]
    after_iou, truth = evaluation.scores_after.iou, evaluation.scores_after.true_pixels
    scored = [
        [
            name,
            _percent(before),
            _percent(after_iou[name]),
            _change(before, after_iou[name]),
            f"{truth[name]:,}",
        ]
        for name, before in evaluation.scores_before.iou.items()
    ]
    means = (evaluation.scores_before.mean_iou, evaluation.scores_after.mean_iou)
    scored.append([tag("b", None, "mean"), *map(_percent, means), _change(*means), f"{sum(truth.values()):,}"])
    return [_table(["IoU", "before", "after", "change", "labelled pixels"], scored), shares]


def _curve(title: str, points: Sequence[Mapping[str, float]]) -> list[Html]:
    """The loss over the iterations, as a line from the left edge to the right."""
    losses = [point["loss"] for point in points]
    last, highest = points[-1]["iteration"], max(max(losses), 1e-9)
    places = " ".join(
        f"{1000 * point['iteration'] / last:.1f},{150 - 140 * point['loss'] / highest:.1f}" for point in points
    )
    line = {"fill": "none", "stroke": "var(--after)", "stroke-width": "2", "vector-effect": "non-scaling-stroke"}
    drawing = tag(
        "svg",
        {"viewBox": "0 0 1000 170", "preserveAspectRatio": "none"},
        tag("line", {"x1": "0", "y1": "150", "x2": "1000", "y2": "150", "stroke": "var(--line)"}),
        tag("polyline", {**line, "points": places}),
    )
    note = f"From {losses[0]:.3f} to {losses[-1]:.3f} in {last:.0f} iterations; the axis begins at 0."
    return [tag("h2", None, f"Loss: {title}"), tag("p", None, note), drawing]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Html:
    head = tag("tr", None, *(tag("th", None, name) for name in heads))
    return tag("table", None, head, *(tag("tr", None, *(tag("td", None, cell) for cell in row)) for row in rows))


def _class_cell(train_id: int) -> Html:
    red, green, blue = PALETTE_RGB[train_id]
    color = tag("i", {"style": f"background:rgb({red},{green},{blue})"})
    return tag("span", None, color, CLASS_NAMES[train_id])


def _bars(before: float, after: float, longest: float) -> Html:
    bars = (
        tag("u", {"style": f"width:{100 * share / max(longest, 1e-9):.1f}%;background:var(--{which})"})
        for share, which in ((before, "before"), (after, "after"))
    )
    return tag("div", {"class": "bar", "style": "width:100%"}, *bars)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _change(before: float | None, after: float | None) -> str:
    return "-" if before is None or after is None else f"{100 * (after - before):+.1f}"
