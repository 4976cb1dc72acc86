"""Draw memory samples: in the terminal (plotext) and as a PNG (matplotlib). Both are the extra ``plots``.

``memory`` calls it; nothing else imports either library.
"""

import errno
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from actors.cli import terminal
from actors.cli.terminal import NoFile, Refused

if TYPE_CHECKING:
    from middleware.memory import Sample
    from middleware.memory_forecast import Forecast

#: A disk takes no more.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
#: Lines of a drawing in the terminal.
HEIGHT = 16
_MB = 1024 * 1024
#: A distance so many times the usual one is a gap.
_GAP = 3
#: Points drawn in a terminal, which has fewer columns.
_COLUMNS = 400
#: Names of databases as people know them; docs/redis-keys.md.
DATABASES = {"0": "cache", "1": "channels", "2": "queues", "3": "rate limits"}
_COLOURS = ("#4269d0", "#efb118", "#3ca951", "#ff725c", "#a463f2", "#97bbf5")


def draw(samples: Sequence["Sample"], *, width: int, colour: bool) -> str:
    """Used memory over time as lines of text; "" with fewer than two samples.

    Raises:
        ImportError: plotext is not installed.
    """
    points = _used(samples)
    if len(points) < 2:
        return ""
    import plotext

    step = -(-len(points) // _COLUMNS)
    # The most of each step: a peak must show.
    thinned = [max(points[at : at + step], key=lambda point: point[1]) for at in range(0, len(points), step)]
    plotext.clear_figure()
    plotext.plotsize(max(40, width), HEIGHT)
    plotext.theme("clear" if not colour else "pro")
    start_ms, end_ms = thinned[0][0], thinned[-1][0]
    plotext.plot([at_ms for at_ms, _ in thinned], [used / _MB for _, used in thinned], marker="braille")
    limit, top = samples[-1].maxmemory_bytes, max(used for _, used in thinned) / _MB
    if limit:
        plotext.hline(limit / _MB, "red")
        top = max(top, limit / _MB)
    plotext.ylim(0, top)
    plotext.yticks([top * part / 4 for part in range(5)], [terminal.size(top * part / 4 * _MB) for part in range(5)])
    ticks = [start_ms + (end_ms - start_ms) * part // 4 for part in range(5)]
    plotext.xticks(ticks, [_time(at_ms, span_ms=end_ms - start_ms) for at_ms in ticks])
    plotext.title("used memory" + (f" up to maxmemory, {terminal.size(limit)}" if limit else ""))
    text: str = plotext.build()
    return text if colour else plotext.uncolorize(text)


def save_png(samples: Sequence["Sample"], path: Path, *, ahead: "Forecast") -> None:
    """Write a picture: used memory under its limit, bytes by database, what waits in the queues.

    Raises:
        Refused: matplotlib is not installed, or there are fewer than two samples.
        NoFile: the file cannot be written.
    """
    if len(_used(samples)) < 2:
        raise Refused("nothing was drawn: it takes two samples; a running worker takes one every minute")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise Refused("nothing was drawn: matplotlib is missing; pip install 'chat-actors[plots]'") from error
    figure = Figure(figsize=(11, 8.5), dpi=110, layout="constrained")
    panels = figure.subplots(3, 1, sharex=True, gridspec_kw={"height_ratios": (3, 2, 2)})
    drawn = _with_gaps(samples)
    for axes, draw_one in zip(panels, (_draw_used, _draw_databases, _draw_queues), strict=True):
        draw_one(axes, drawn)
        axes.grid(visible=True, color="#e6e6e6", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0)
        axes.set_ylim(bottom=0)
        if axes.get_legend_handles_labels()[0]:
            # Above the drawing, beside its title: nothing lies on a line.
            axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=6, frameon=False, fontsize=9, borderpad=0)
    _draw_ahead(panels[0], samples, ahead)
    _label_times(panels[2])
    figure.suptitle(f"Redis memory: {forecast_text(ahead, now_ms=samples[-1].at_ms)}", x=0.01, ha="left", fontsize=12)
    picture = BytesIO()
    figure.savefig(picture, format="png")
    _write(path, picture.getvalue())


def _write(path: Path, picture: bytes) -> None:
    try:
        path.write_bytes(picture)
    except OSError as error:
        if error.errno in _FULL and path.is_file():
            # Half a picture.
            path.unlink()
        raise NoFile(f"the picture was not written to {path}: {error.strerror or type(error).__name__}") from error


def _used(samples: Sequence["Sample"]) -> list[tuple[int, int]]:
    return [(one.at_ms, one.used_memory_bytes) for one in samples if one.used_memory_bytes is not None]


def _with_gaps(samples: Sequence["Sample"]) -> list["Sample"]:
    """The samples with an empty one in every gap: no line shall be drawn where nobody looked."""
    usual_ms = median(later.at_ms - earlier.at_ms for earlier, later in pairwise(samples))
    drawn = [samples[0]]
    for earlier, later in pairwise(samples):
        # From quarter hours to minutes the usual distance changes; neither is a gap.
        if later.at_ms - earlier.at_ms > max(_GAP * usual_ms, _GAP * 1000 * earlier.span_s):
            empty: dict[str, Any] = {"used_memory_bytes": None, "databases": {}, "queues": {}, "memory": {}}
            drawn.append(replace(earlier, at_ms=(earlier.at_ms + later.at_ms) // 2, **empty))
        drawn.append(later)
    return drawn


def _moments(samples: Sequence["Sample"]) -> list[datetime]:
    return [datetime.fromtimestamp(one.at_ms / 1000, tz=UTC) for one in samples]


def _unit(most_bytes: float) -> tuple[float, str]:
    return (1024 * _MB, "GB") if most_bytes >= 2048 * _MB else (_MB, "MB")


def _scaled(values: Sequence[Any], unit: float) -> list[float]:
    return [math.nan if value is None else float(value) / unit for value in values]


def _draw_used(axes: Any, samples: Sequence["Sample"]) -> None:
    limit = samples[-1].maxmemory_bytes
    unit, name = _unit(max([limit or 0, *(used for _, used in _used(samples))]))
    moments, used = _moments(samples), _scaled([one.used_memory_bytes for one in samples], unit)
    resident = [one.memory.get("rss_bytes") for one in samples]
    if any(resident):
        axes.plot(moments, _scaled(resident, unit), ":", label="resident", color="#9a9a9a", linewidth=1.1)
    axes.fill_between(moments, used, color=_COLOURS[0], alpha=0.12, linewidth=0)
    axes.plot(moments, used, label="used", color=_COLOURS[0], linewidth=1.6)
    if limit:
        axes.axhline(limit / unit, color="#c0392b", linewidth=1.2, label=f"maxmemory {terminal.size(limit)}")
        axes.set_ylim(top=1.06 * max([limit / unit, *(value for value in used if not math.isnan(value))]))
    axes.set_ylabel(name)
    axes.set_title("memory", loc="left", fontsize=10)


def _draw_ahead(axes: Any, samples: Sequence["Sample"], ahead: "Forecast") -> None:
    """The slope, a third of the drawing into the future at most."""
    limit, used = samples[-1].maxmemory_bytes, _used(samples)
    if ahead.at_ms is None or not limit or ahead.slope_bytes_per_day is None or len(used) < 2:
        return
    unit, _ = _unit(max(limit, *(value for _, value in used)))
    start_ms, start = used[-1]
    end_ms = min(ahead.at_ms, start_ms + (start_ms - used[0][0]) // 3)
    end = start + ahead.slope_bytes_per_day * (end_ms - start_ms) / 86_400_000
    moments = [datetime.fromtimestamp(at_ms / 1000, tz=UTC) for at_ms in (start_ms, end_ms)]
    axes.plot(moments, [start / unit, end / unit], "--", color=_COLOURS[0], linewidth=1.2)


def _draw_databases(axes: Any, samples: Sequence["Sample"]) -> None:
    names = sorted({name for one in samples for name in one.databases}, key=int)
    sizes = {name: [one.databases.get(name, {}).get("estimated_bytes") for one in samples] for name in names}
    known = {name: values for name, values in sizes.items() if any(values)}
    totals = [sum(float(values[at] or 0) for values in known.values()) for at in range(len(samples))]
    unit, unit_name = _unit(max(totals, default=0))
    if known:
        stacks = [
            [
                math.nan if one.used_memory_bytes is None else float(value or 0) / unit
                for one, value in zip(samples, values, strict=True)
            ]
            for values in known.values()
        ]
        labels = [f"{name} {DATABASES.get(name, '')}".strip() for name in known]
        axes.stackplot(_moments(samples), *stacks, labels=labels, colors=_COLOURS, alpha=0.85, linewidth=0)
    else:
        _say_nothing(axes, "no estimate of any database")
    axes.set_ylabel(unit_name)
    axes.set_title("estimated bytes by database", loc="left", fontsize=10)


def _draw_queues(axes: Any, samples: Sequence["Sample"]) -> None:
    names = sorted({name for one in samples for name in one.queues})
    totals = {name: [waiting(one.queues[name]) if name in one.queues else None for one in samples] for name in names}
    busiest = sorted((name for name in names if any(totals[name])), key=lambda name: -max(n or 0 for n in totals[name]))
    for name, colour in zip(busiest[: len(_COLOURS)], _COLOURS, strict=False):
        axes.plot(_moments(samples), _scaled(totals[name], 1), label=name, color=colour, linewidth=1.4)
    if busiest:
        axes.yaxis.set_major_formatter("{x:,.0f}")
    else:
        _say_nothing(axes, "nothing waited")
    axes.set_ylabel("messages")
    axes.set_title("unfinished messages by queue", loc="left", fontsize=10)


def _say_nothing(axes: Any, text: str) -> None:
    axes.set_yticks([])
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="#9a9a9a")


def _label_times(axes: Any) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator: Any = AutoDateLocator(tz=UTC, minticks=5, maxticks=10)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))  # type: ignore[no-untyped-call]
    axes.set_xlabel("UTC", fontsize=9)


def waiting(depths: Any) -> int:
    """Unfinished messages of a queue, from its depths."""
    states = ("ready", "delayed", "in_flight", "waiting_in_lane", "waiting_in_group")
    return sum(int(depths.get(state) or 0) for state in states)


def _time(at_ms: int, *, span_ms: int) -> str:
    moment = datetime.fromtimestamp(at_ms / 1000, tz=UTC)
    return moment.strftime("%H:%M" if span_ms <= 36 * 3_600_000 else "%d %b %H:%M")


def forecast_text(ahead: "Forecast", *, now_ms: int) -> str:
    """A forecast as a sentence."""
    per_day = ahead.slope_bytes_per_day or 0
    grows = f"{'+' if per_day >= 0 else '-'}{terminal.size(abs(per_day))} a day"
    if ahead.at_ms is not None and ahead.early_ms is not None and ahead.late_ms is not None:
        spans = [terminal.age(max(0, at_ms - now_ms) / 1000) for at_ms in (ahead.at_ms, ahead.early_ms, ahead.late_ms)]
        return f"maxmemory is reached in {spans[0]} at today's slope ({grows}; {spans[1]} to {spans[2]})"
    texts = {
        "full": "maxmemory is reached",
        "steady": f"maxmemory is not reached within a year at today's slope ({grows})",
        "shrinking": f"memory shrinks ({grows})",
        "no_limit": f"no maxmemory is set ({grows})",
    }
    return texts.get(ahead.outlook, f"no forecast: {ahead.why}")
