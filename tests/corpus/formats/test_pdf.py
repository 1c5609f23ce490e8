import gzip
from pathlib import Path

import pytest

from glasshouse.corpus.problem import Problem
from glasshouse.corpus.reader import read

pytest.importorskip("pypdf")


def make_pdf(*pages: str) -> bytes:
    """A minimal PDF with one line of text a page."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in enumerate(pages):
        content = f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET"
        resources = "/Resources << /Font << /F1 3 0 R >> >>"
        objects.append(f"<< /Type /Page /Parent 2 0 R {resources} /Contents {5 + 2 * number} 0 R >>")
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    body, places = b"%PDF-1.4\n", []
    for number, text in enumerate(objects, 1):
        places.append(len(body))
        body += f"{number} 0 obj\n{text}\nendobj\n".encode()
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    trailer = (
        f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>"
    )
    return body + f"{trailer}\nstartxref\n{len(body)}\n%%EOF".encode()


def test_pages_are_read_and_faults_recorded(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(make_pdf("First page", "Second page"))
    (tmp_path / "b.pdf.gz").write_bytes(gzip.compress(make_pdf("Packed")))
    (tmp_path / "c.pdf").write_bytes(b"no pdf")
    (tmp_path / "d.pdf").write_bytes(make_pdf(""))
    problems: list[Problem] = []
    documents = list(read([str(tmp_path)], problems.append))
    assert [document.text for document in documents] == ["First page\n\nSecond page\n\n", "Packed\n\n"]
    assert ["damaged PDF" in problems[0].reason, problems[1].reason] == [True, "no text in 1 pages (scanned?)"]
