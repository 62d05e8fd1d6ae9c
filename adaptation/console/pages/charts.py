"""ECharts options that read well on light and on dark."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from adaptation.console.views.prior import PriorView
from adaptation.console.views.rounds import Curve
from exchange.label_space import CLASS_NAMES, PALETTE_RGB

_INK, _LINE = "#7d8798", "rgba(125,135,152,.25)"
_RIM = {"borderColor": "#fff", "borderWidth": 1}
_TEXT = {"color": _INK, "fontSize": 12, "fontFamily": "system-ui, sans-serif"}
_AXIS = {
    "axisLabel": _TEXT,
    "axisLine": {"lineStyle": {"color": _LINE}},
    "axisTick": {"show": False},
    "splitLine": {"lineStyle": {"color": _LINE}},
    "nameTextStyle": _TEXT,
}
_LEGEND = {"top": 0, "type": "scroll", "textStyle": _TEXT, "inactiveColor": "rgba(125,135,152,.4)"}
_TOOLTIP = {"trigger": "axis", "confine": True}
_LINES = ("#2f6fed", "#e0782f", "#2a9d64", "#b0489c", "#8a6d1f", "#1f8a99")


def curve_options(curve: Curve) -> dict[str, Any]:
    """What a training told of itself; the loss first, other numbers at a click on their name."""
    names = [name for name, _ in curve.series]
    shown = [name for name in names if "loss" in name] or names
    return {
        "animation": False,
        "color": list(_LINES),
        "textStyle": _TEXT,
        "tooltip": _TOOLTIP,
        "legend": {**_LEGEND, "data": names, "selected": {name: name in shown for name in names}},
        "grid": {"left": 48, "right": 16, "top": 36, "bottom": 28},
        "xAxis": {"type": "value", "min": "dataMin", "max": "dataMax", **_AXIS},
        "yAxis": {"type": "value", "scale": True, **_AXIS},
        "series": [
            {"name": name, "type": "line", "showSymbol": len(points) < 3, "data": [list(point) for point in points]}
            for name, points in curve.series
        ],
    }


def prior_options(view: PriorView) -> dict[str, Any]:
    """Share of frames that hold each class: at the source, and here with its interval."""
    names = [each.name for each in view.classes]
    source = [None if each.source is None else round(100 * each.source, 1) for each in view.classes]
    known = any(share is not None for share in source)
    widths = [round(100 * (each.high - each.low), 1) for each in view.classes]
    here = [
        {"value": round(100 * each.estimated, 1), "itemStyle": {"color": class_color(each.train_id), **_RIM}}
        for each in view.classes
    ]
    return {
        "animation": False,
        "textStyle": _TEXT,
        "tooltip": {**_TOOLTIP, "trigger": "item"},
        "legend": {**_LEGEND, "data": [*(["source"] if known else []), "here", "90 % interval"]},
        "grid": {"left": 92, "right": 20, "top": 34, "bottom": 26},
        "xAxis": {"type": "value", "min": 0, "max": 100, **_AXIS, "axisLabel": {**_TEXT, "formatter": "{value} %"}},
        "yAxis": {
            "type": "category", "data": names, "inverse": True, **_AXIS, "axisLabel": {**_TEXT, "interval": 0}
        },
        "series": [
            {"name": "from", "type": "bar", "stack": "interval", "silent": True, "barWidth": 7,
             "itemStyle": {"color": "transparent"}, "data": [round(100 * each.low, 1) for each in view.classes]},
            {"name": "90 % interval", "type": "bar", "stack": "interval", "barWidth": 7,
             "itemStyle": {"color": "rgba(47,111,237,.35)", "borderRadius": 3}, "data": widths},
            {"name": "source", "type": "scatter", "symbol": "diamond", "symbolSize": 9, "itemStyle": {"color": _INK},
             "data": source},
            {"name": "here", "type": "scatter", "symbolSize": 10, "itemStyle": {"color": "#2f6fed"}, "data": here},
        ],
    }  # fmt: skip


def seen_options(view: PriorView, chosen: Sequence[int]) -> dict[str, Any]:
    """Over time: the share of frames that held a class; `chosen` are the train ids that are shown at first."""
    return {
        "animation": False,
        "textStyle": _TEXT,
        "tooltip": _TOOLTIP,
        "legend": {
            **_LEGEND,
            "data": list(CLASS_NAMES),
            "selected": {name: k in chosen for k, name in enumerate(CLASS_NAMES)},
        },
        "grid": {"left": 48, "right": 16, "top": 36, "bottom": 28},
        "xAxis": {"type": "category", "boundaryGap": False, "data": [_hour(at) for at in view.times], **_AXIS},
        "yAxis": {"type": "value", "min": 0, "max": 100, **_AXIS, "axisLabel": {**_TEXT, "formatter": "{value} %"}},
        "series": [
            {
                "name": name,
                "type": "line",
                "showSymbol": True,
                "symbolSize": 4,
                "itemStyle": {"color": class_color(k)},
                "lineStyle": {"color": class_color(k), "width": 2},
                "data": [None if share is None else round(100 * share, 1) for share in view.seen[k]],
            }
            for k, name in enumerate(CLASS_NAMES)
        ],
    }


def class_color(train_id: int) -> str:
    red, green, blue = PALETTE_RGB[train_id]
    return f"rgb({red},{green},{blue})"


def _hour(at: datetime) -> str:
    return f"{at:%H:%M}"
