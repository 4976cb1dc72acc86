"""The drawing of used memory, and the sentence that tells its forecast."""

import pytest

from actors.cli.memory_chart import draw, forecast_text
from middleware.memory import Sample
from middleware.memory_forecast import Forecast, Outlook

MB = 1024 * 1024
HOUR_MS = 3_600_000


@pytest.mark.parametrize("samples", [[], [Sample(at_ms=1, used_memory_bytes=5)], [Sample(at_ms=1), Sample(at_ms=2)]])
def test_less_than_two_samples_make_no_drawing(samples):
    assert draw(samples, width=80, colour=False) == ""


def test_a_drawing_fits_its_width_and_keeps_a_peak():
    samples = [
        Sample(at_ms=at * 60_000, used_memory_bytes=(900 if at == 777 else 10) * MB, maxmemory_bytes=0)
        for at in range(1_440)
    ]

    lines = draw(samples, width=60, colour=False).splitlines()

    assert max(map(len, lines)) <= 60
    # The topmost tick is the peak, and something stands beside it.
    assert "900.0 MB" in lines[2]
    assert lines[2].split("┤")[1].strip(" │")


@pytest.mark.parametrize(
    ("ahead", "text"),
    [
        (Forecast(outlook=Outlook.FULL, at_ms=1), "maxmemory is reached"),
        (
            Forecast(outlook=Outlook.STEADY, slope_bytes_per_day=MB),
            "not reached within a year at today's slope (+1.0 MB",
        ),
        (Forecast(outlook=Outlook.SHRINKING, slope_bytes_per_day=-MB), "memory shrinks (-1.0 MB a day)"),
        (Forecast(outlook=Outlook.NO_LIMIT, slope_bytes_per_day=0.0), "no maxmemory is set (+0 B a day)"),
        (Forecast(outlook=Outlook.UNKNOWN, why="it takes samples"), "no forecast: it takes samples"),
        (
            Forecast(
                outlook=Outlook.GROWING,
                slope_bytes_per_day=MB,
                at_ms=5 * HOUR_MS,
                early_ms=4 * HOUR_MS,
                late_ms=9 * HOUR_MS,
            ),
            "maxmemory is reached in 5 h at today's slope (+1.0 MB a day; 4 h to 9 h)",
        ),
    ],
)
def test_a_forecast_is_a_sentence(ahead, text):
    assert text in forecast_text(ahead, now_ms=0)
