"""docs/scale.md: its arithmetic is that of the rates it names, which docs/performance.md measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "scale.md").read_text("utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")]
MEASURED = [row for row in ROWS if len(row) == 5 and re.fullmatch(r"[\d.]+", row[1]) and "dpi" not in row[0]]
BY_DPI = [row for row in ROWS if len(row) == 5 and "A4" not in row[0] and "dpi" in row[0]]


def number(cell: str) -> float:
    return float(cell.replace(",", ""))


def test_the_tables_are_found() -> None:
    assert (len(MEASURED), len(BY_DPI)) == (3, 4)


@pytest.mark.parametrize("row", MEASURED, ids=lambda row: row[0])
def test_hours_follow_from_the_measured_rate(row: list[str]) -> None:
    """As written, within half of its last digit."""
    hours = 1e6 / number(row[1]) / 3600
    assert number(row[2]) == pytest.approx(hours, abs=0.05)
    assert number(row[3]) == pytest.approx(1000 * hours, abs=0.5)
    assert number(row[4]) == pytest.approx(1000 * hours / 64 / 24, abs=0.05)


def test_rates_are_those_of_the_performance_page() -> None:
    """Texts of 570 tokens are 384 in 2.43 s there."""
    measured = (DOCS / "performance.md").read_text("utf-8")
    assert "36.8 pages a second" in measured
    assert "1,580 texts a second" in measured
    assert "texts of about 570 tokens (384) | 2.43 s" in measured
    rates = [number(row[1]) for row in MEASURED]
    assert rates == [36.8, round(384 / 2.43), 1580]


@pytest.mark.parametrize("row", BY_DPI, ids=lambda row: row[0])
def test_rates_by_dpi_follow_from_the_operations(row: list[str]) -> None:
    rate = 36.8 * 8.2 / number(row[2])
    assert number(row[3]) == pytest.approx(rate, abs=0.05)
    assert number(row[4]) == pytest.approx(1e6 / rate / 3600, abs=0.5)
