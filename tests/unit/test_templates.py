"""A template of a brokerage lays out what it is given, reaches nothing else, and never costs the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.report import sandbox
from reconciler.report.finding import KINDS
from reconciler.report.render import FILLED_LIMIT, TEXT, mail_page, page, text
from tests.reports import long_report, sample_report

NOTE = "can't be used"


def filled(folder: Path, template: str) -> str:
    (folder / TEXT).write_text(template, "utf-8")
    return text(sample_report(), folder)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ ''|attr('__class__') }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ report.__init__.__globals__ }}",
        "{{ report.rows.__globals__ }}{{ report.rows.__closure__ }}{{ report.rows.__code__ }}",
        "{{ report.rows().gi_frame.f_globals }}",
        "{{ report.sections|map(attribute='rows.__class__')|list }}",
        "{{ report.mood.__class__ }}{{ report.made_at.__class__ }}{{ kinds.items.__self__ }}",
        "{{ cycler.__init__.__globals__ }}{{ lipsum.__globals__ }}{{ joiner.__init__ }}",
        "{{ self._TemplateReference__context }}{{ namespace().__class__ }}",
        "{% set x = report.brand.__setattr__ %}{{ x }}",
        "{% import 'os' as os %}{{ os.environ }}",
        "{% include '/etc/passwd' %}",
        "{% include '../../etc/passwd' %}",
    ],
)
def test_a_template_reaches_no_insides_of_python_and_no_file(template: str, tmp_path: Path) -> None:
    made = filled(tmp_path, template)
    for inside in ("<class", "<module", "<bound", "<frame", "<code", "root:", "environ("):
        assert inside not in made


@pytest.mark.parametrize("template", ["{{ kinds.clear() }}", "{{ kinds.update(x=1) }}", "{{ kinds.popitem() }}"])
def test_a_template_changes_nothing_for_the_next_one(template: str, tmp_path: Path) -> None:
    before = dict(KINDS)
    assert NOTE in filled(tmp_path, template)
    assert before == KINDS


@pytest.mark.parametrize(
    "template",
    [
        "{% broken",
        "{{ nothing.at.all }}",
        "{{ 1 / 0 }}",
        "{{ [].pop() }}",
        "{{ {}.popitem() }}",
        "{{ '{0} {1}'.format(1) }}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
        "{{ range(10 ** 9)|list }}",
        "{% for a in range(99999) %}{{ 'x' * 999 }}{% endfor %}",
        "{{ 'half \\ud800' }}",
        "{% set n = 9 ** 99999999 %}",
        "{{ 'x' * 10 ** 12 }}",
        "{{ [1] * 10 ** 12 }}",
        "{{ lipsum(10 ** 9) }}",
    ],
)
def test_a_template_that_fails_costs_its_looks_and_not_the_report(template: str, tmp_path: Path) -> None:
    made = filled(tmp_path, template)
    assert NOTE in made
    assert sample_report().coverage in made


def test_a_loop_may_do_all_that_loops_do_while_its_turns_are_counted(tmp_path: Path) -> None:
    loops = "{% for a in [1, 2, 3] %}{{ loop.index }}/{{ loop.length }}{{ loop.last }}{{ loop.nextitem }} {% endfor %}"
    empty = "{% for a in nothing %}{% else %}none{% endfor %}"
    pairs = "{% for a, b in {'x': 'y'}.items() if b %}{{ a }}{{ b }}{% endfor %}"
    assert filled(tmp_path, f"{loops}{empty} {pairs}") == "1/3False2 2/3False3 3/3True none xy"


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in range(9) recursive %}{% if loop.depth < 99 %}{{ loop(range(9)) }}{% endif %}{% endfor %}",
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(90) }}",
        "{% set n = n|default(90) - 1 %}{% for a in (1, 2) if n %}{% include 'report.txt.j2' %}{% endfor %}",
    ],
)
def test_a_template_that_never_ends_is_one_that_fails(
    template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "TURNS", 20_000)
    made = filled(tmp_path, template)
    assert "it takes more than 20,000 turns of its loops" in made
    assert sample_report().coverage in made


def test_the_forms_that_are_shipped_take_a_hundredth_of_what_a_template_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "TURNS", sandbox.TURNS // 100)
    for face in (page, mail_page, text):
        assert "Acme" in face(long_report(5_000))


def test_what_a_template_writes_is_bounded(tmp_path: Path) -> None:
    assert len(filled(tmp_path, "{% for a in range(99999) %}{{ 'x' * 150 }}{% endfor %}")) <= FILLED_LIMIT
    assert NOTE in filled(tmp_path, "{% for a in range(99999) %}{{ 'x' * 250 }}{% endfor %}")


def test_what_a_calendar_says_is_never_a_template(tmp_path: Path) -> None:
    (tmp_path / TEXT).write_text("{{ report.headline }}", "utf-8")
    assert text(sample_report(headline="{{ 7 * 7 }}{% include '/etc/passwd' %}"), tmp_path) == (
        "{{ 7 * 7 }}{% include '/etc/passwd' %}"
    )
