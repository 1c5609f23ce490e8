from pathlib import Path

import pytest

from glasshouse.corpus.problem import Problem
from glasshouse.corpus.reader import read

pytest.importorskip("selectolax")
from glasshouse.corpus.formats.html import html_text


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<p>One <b>two</b></p><p>three</p>", "One two\n\nthree\n"),
        ("<title>t</title><script>s()</script><style>x</style><p>a&amp;b&#39;s</p>", "a&b's\n"),
        ("<p>one\n  two</p>after", "one two\n\nafter\n"),
        ("<pre>def f():\n    return  1</pre>", "def f():\n    return  1\n"),
        ("<ul><li>a<li>b</ul>a<br>b", "a\n\nb\n\na\nb\n"),
        ("<table><tr><td>1</td><td>2</td></tr></table>", "1 2\n"),
        ("<!-- no --><div></div>", ""),
    ],
)
def test_blocks_become_paragraphs(markup: str, text: str) -> None:
    assert html_text(markup) == text


def test_pages_nested_thousands_deep_are_read() -> None:
    assert "deep" in html_text("<div>" * 5000 + "deep")


def test_html_honours_its_charset(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_bytes('<meta charset="windows-1251"><p>Привет'.encode("cp1251"))
    problems: list[Problem] = []
    assert [document.text for document in read([str(tmp_path)], problems.append)] == ["Привет\n"]
