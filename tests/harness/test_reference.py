"""The pages of docs/reference say what the product says."""

from __future__ import annotations

from harness.reference_command import PAGES, pages


def test_the_reference_is_what_the_product_says() -> None:
    for name, text in pages().items():
        assert (PAGES / name).read_text() == text, f"docs/reference/{name} is out of date: run harness/reference"
    objects = pages()["objects.md"]
    assert "| `spec.jobs[].scaling.maxConcurrency` | integer |" in objects
    assert all(
        told.strip() for line in objects.splitlines() if line.startswith("| `spec") for told in line.split("|")[3:4]
    )
