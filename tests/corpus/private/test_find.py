"""Every kind: what is found, what is left alone, and the figures on real annotated sentences."""

import itertools
import json
import random
import string
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshouse.corpus.private.cards import is_luhn_valid
from glasshouse.corpus.private.find import FINDERS, find_private
from glasshouse.corpus.private.ibans import is_iban_valid

RANDOM_40 = "9fK2mQ7xL4vB1nR8sT3wY6zA5cD0eF2gH4jK6mN8"

FOUND = [
    ("email", "ada@lovelace.org"),
    ("email", "first.last+tag@mail.uni-koeln.de"),
    ("email", "o'brien@museum.museum"),
    ("ip", "86.121.97.248"),
    ("ip", "2606:4700:4700::1111"),
    ("ip", "6e40:4041:c617:e898:c11:40d2:c669:2eb4"),
    ("phone", "+46 (0)8 928 571 38"),
    ("phone", "+1-984-182-0190x12"),
    ("phone", "541-714-1388"),
    ("phone", "(579) 888-3058"),
    ("phone", "0490 75 40 81"),
    ("phone", "+49 221 4567890"),
    ("card", "4454794511390933"),
    ("card", "4454 7945 1139 0933"),
    ("card", "347415977307943"),
    ("iban", "GB56HXDO88167774656119"),
    ("iban", "DE89 3704 0044 0532 0130 00"),
    ("iban", "gb42nawi04454264788619"),
    ("secret", "AKIAQ3EGRZ7X2M5LPT6B"),
    ("secret", "ghp_" + RANDOM_40[:36]),
    ("secret", "github_pat_" + RANDOM_40),
    ("secret", "xoxb-998877665544-" + RANDOM_40[:24]),
    ("secret", "sk-proj-" + RANDOM_40),
    ("secret", "hf_" + RANDOM_40[:34]),
    ("secret", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3NzEifQ." + RANDOM_40),
    ("secret", "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIEow\n-----END RSA PRIVATE KEY-----"),
]
ALONE = [
    "@decorator and user@host and x@y",
    "loss = (W@x.sum()) + A@B.T",
    "clone git@github.com:me/it.git, ask me@example.com or root@box.local",
    "version 86.121.97.248, section 8.2.4.44, OID 1.3.6.1.4.1.311",
    "127.0.0.1 0.0.0.0 255.255.255.0 10.1.2.3 192.168.178.20 192.0.2.7 8.8.8.8 300.1.200.3 224.0.100.200",
    "x[1::2] std::dead::beef 12:30:45 ::1 fe80::1 2001:db8::1 00:1a:2b:3c:4d:5e",
    "2021-03-04 10:20:30, 1.4454794511390933, 0x4454794511390933, 1234567890, 12 345 678, (2010) 1234",
    "pages 100-200-3000, ISBN 978-3-16-148410-0, 100 000 000, 3.14159265, 10-20-30-40",
    "4454794511390934 4111111111111111 9999999999999999",
    "GB57HXDO88167774656119 XX56HXDO88167774656119",
    "AKIAIOSFODNN7EXAMPLE password = get_password_from_vault token: os.environ.get",
    'api_key = "your_api_key_goes_here_1" secret = "aaaaaaaaaaaaaaaaaaaaaaa1"',
    "key = 'abcd1234efgh5678ijkl' sorted(key=lambda9876543210abc: 1)",
    "https://host:8080/x@y https://user:$PASSWORD@host/",
]


@pytest.mark.parametrize(("kind", "value"), FOUND)
@pytest.mark.parametrize("frame", ["{}", "see {} there", "\n<{}>,\n", '"{}"'])
def test_private_data_is_found_exactly(kind: str, value: str, frame: str) -> None:
    text = frame.format(value)
    assert [(span.kind, text[span.start : span.end]) for span in find_private(text)] == [(kind, value)]


@pytest.mark.parametrize("text", ALONE)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert [(span.kind, text[span.start : span.end]) for span in find_private(text)] == []


@pytest.mark.parametrize(
    "line", [f'api_key = "{RANDOM_40}"', f"AWS_SECRET_ACCESS_KEY={RANDOM_40}", f'{{"password": "{RANDOM_40}"}}']
)
def test_assigned_secrets_lose_only_their_value(line: str) -> None:
    assert [line[span.start : span.end] for span in find_private(line)] == [RANDOM_40]


def test_password_in_an_address_is_found() -> None:
    text = "postgres://app:t0psecret@db.internal/main"
    assert [(span.kind, text[span.start : span.end]) for span in find_private(text)] == [("secret", "t0psecret")]


@pytest.mark.parametrize("before", ["Phone: ", "Please call me at ", "Fax:\n", "my registered "])
def test_words_around_make_digits_a_phone_number(before: str) -> None:
    assert find_private("467 3395") == []
    assert [span.kind for span in find_private(before + "467 3395")] == ["phone"]


@given(st.text(alphabet=string.ascii_letters + string.digits + "@.:+-() /=\"'\n", max_size=300))
def test_spans_are_ordered_inside_and_apart(text: str) -> None:
    spans = find_private(text)
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    assert all(one.end <= other.start for one, other in itertools.pairwise(spans))


@given(st.integers(10**11, 10**18))
def test_luhn_detects_every_wrong_digit(number: int) -> None:
    valid = [f"{number}{check}" for check in range(10) if is_luhn_valid(f"{number}{check}")]
    assert len(valid) == 1


def test_iban_check_digits() -> None:
    assert is_iban_valid("GB82WEST12345698765432")
    assert not is_iban_valid("GB82WEST12345698765423")


ADVERSARIES = ["9", "1 ", "12-", "a.", "@a.", "a1:", "(1)", "1.", 'key="', "-----BEGIN PRIVATE KEY-----", "eyJ",
               "AB12 ", "://a:b", ":1", "0 1(", "xoxb-", "tel: 12 ", "+1 (", "1(2)"]  # fmt: skip


@pytest.mark.parametrize("part", ADVERSARIES)
@pytest.mark.parametrize("kind", FINDERS)
@pytest.mark.timeout(60)
def test_no_text_makes_a_finder_hang(kind: str, part: str) -> None:
    """Under 0.1 s each; with one repetition inside another these take minutes."""
    text = part * (40_000 // len(part))
    assert all(span.end <= len(text) for span in FINDERS[kind](text))


KINDS = {
    "EMAIL_ADDRESS": "email",
    "IP_ADDRESS": "ip",
    "PHONE_NUMBER": "phone",
    "CREDIT_CARD": "card",
    "IBAN_CODE": "iban",
}


def test_recall_and_precision_on_annotated_sentences(shared_data: Path) -> None:
    found, wanted, right = Counter[str](), Counter[str](), Counter[str]()
    for record in json.loads((shared_data / "probes/pii/synth_dataset_v2.json").read_text()):
        spans = find_private(record["full_text"])
        gold = [
            (span["start_position"], span["end_position"], KINDS[span["entity_type"]])
            for span in record["spans"]
            if span["entity_type"] in KINDS
        ]
        wanted.update(kind for _, _, kind in gold)
        found.update(span.kind for span in spans)
        right.update(
            kind
            for start, end, kind in gold
            if any(s.kind == kind and s.start <= start and end <= s.end for s in spans)
        )
    assert wanted == {"card": 136, "phone": 92, "email": 49, "iban": 21, "ip": 14}
    for kind in wanted:
        assert right[kind] >= 0.97 * wanted[kind], kind
        assert found[kind] <= 1.03 * wanted[kind], kind


def test_novels_hold_nothing_private(shared_data: Path) -> None:
    novels = sorted((shared_data / "text/novels").glob("*.txt"))
    sample = random.Random(0).sample(novels, min(5, len(novels)))
    text = "\n".join(path.read_text(encoding="utf-8", errors="replace")[:300_000] for path in sample)
    assert [text[span.start : span.end] for span in find_private(text)] == []
