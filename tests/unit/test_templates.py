"""A template of a brokerage lays out what it is given, reaches nothing else, and never costs the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.report.finding import KINDS
from reconciler.report.render import FILLED_LIMIT, TEXT, text
from tests.reports import sample_report

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
    ],
)
def test_a_template_that_fails_costs_its_looks_and_not_the_report(template: str, tmp_path: Path) -> None:
    made = filled(tmp_path, template)
    assert NOTE in made
    assert sample_report().coverage in made


def test_what_a_template_writes_is_bounded(tmp_path: Path) -> None:
    assert len(filled(tmp_path, "{% for a in range(99999) %}{{ 'x' * 150 }}{% endfor %}")) <= FILLED_LIMIT
    assert NOTE in filled(tmp_path, "{% for a in range(99999) %}{{ 'x' * 250 }}{% endfor %}")


def test_what_a_calendar_says_is_never_a_template(tmp_path: Path) -> None:
    (tmp_path / TEXT).write_text("{{ report.headline }}", "utf-8")
    assert text(sample_report(headline="{{ 7 * 7 }}{% include '/etc/passwd' %}"), tmp_path) == (
        "{{ 7 * 7 }}{% include '/etc/passwd' %}"
    )
