"""Manifests are what the crontab says, hold no secret, ask for no right, and are understood by cluster and program."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler import errors, schedule
from reconciler.cli import entry, running
from reconciler.cli.adapted import adapted
from reconciler.cli.generating import KINDS, dumped
from reconciler.cli.needing import held
from reconciler.cli.understood import understood
from reconciler.cli.world import World
from reconciler.config import load
from reconciler.errors import ConfigError
from reconciler.kubernetes import names, sizing, timing
from reconciler.kubernetes.cronjob import CODES
from reconciler.kubernetes.deployment import FOLDER, JOBS

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "jobs/kubernetes"
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
AS_KEPT = re.search(r"generate (kubernetes .*?) --output", (ROOT / "Makefile").read_text().replace("\\\n", ""))
VERSIONS = ("1.29", "1.37")
"""The first in which a part of an indexed Job may fail alone by default, and the latest whose schemas are here."""
Manifest = dict[str, Any]
Generated = tuple[int, list[Manifest], str]
Make = Callable[..., Generated]

ICS = """
name = "acme"
state = "env:STATE_URL"
[[source]]
kind = "ics"
agent = "ann@acme.example"
url = "env:FEED"
[crm]
kind = "sql"
url = "env:CRM_URL"
table = "appointments"
time = "utc"
columns = { id = "id", agent = "agent", start = "start", end = "end" }
"""


def call(folder: Path, *words: str, **environ: str) -> int:
    return entry.call(words, World(environ=environ, cwd=folder, clock=lambda: NOW))


def loaded(text: str) -> Iterator[Manifest]:
    return iter(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))  # safe, in C


def documents(*files: Path) -> list[Manifest]:
    return [each for file in files for each in loaded(file.read_text()) if each]


def kept(folder: str) -> list[Manifest]:
    """Return the resources of a kustomization, but for those of the one below it."""
    [root] = documents(KEPT / folder / "kustomization.yaml")
    return documents(*(KEPT / folder / name for name in root["resources"] if not name.startswith("..")))


BASE, MORE = kept("base"), kept("sharded")
TEMPLATES = documents(*KEPT.glob("*/secrets.template.yaml"))
CRON_JOBS = [each for each in (*BASE, *MORE) if each["kind"] == "CronJob"]
by_name = pytest.mark.parametrize("cron", CRON_JOBS, ids=lambda each: each["metadata"]["name"])


def pod(cron: Manifest) -> Manifest:
    spec: Manifest = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return spec


def container(cron: Manifest) -> Manifest:
    [only] = pod(cron)["containers"]
    assert isinstance(only, dict)
    return only


def called(name: str, some: list[Manifest] = CRON_JOBS) -> Manifest:
    [found] = [each for each in some if each["metadata"]["name"] == name]
    return found


@pytest.fixture
def make(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Make:
    """Write a job and a crontab, and return what is generated from them: exit code, documents, what is said."""
    (tmp_path / "jobs").mkdir()

    def made(job: str, crontab: str, *words: str, name: str = "acme", **environ: str) -> Generated:
        (tmp_path / "jobs" / f"{name}.toml").write_text(job)
        (tmp_path / "crontab").write_text(crontab)
        code = call(tmp_path, "generate", "kubernetes", *words, **environ)
        said = capsys.readouterr()
        return code, [each for each in loaded(said.out) if each], said.err

    return made


# ---- what is kept is what is generated ------------------------------------------------------------------------------


def test_what_is_kept_is_what_the_crontab_and_the_jobs_say(tmp_path: Path) -> None:
    for name in ("crontab", "jobs"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("kubernetes", "var"))
        else:
            shutil.copy(source, tmp_path / name)
    assert AS_KEPT is not None
    assert call(tmp_path, "generate", *AS_KEPT[1].split(), "--output", "made", "--quiet") == 0
    made = {path.relative_to(tmp_path / "made").as_posix(): path.read_text() for path in tmp_path.rglob("made/*/*")}
    there = {path.relative_to(KEPT).as_posix(): path.read_text() for path in KEPT.glob("*/*")}
    assert made == there, "crontab or jobs changed: `make manifests`"


def test_each_line_of_the_crontab_is_a_cron_job() -> None:
    lines = [line.words for line in schedule.read(ROOT / "crontab").entries]
    assert [tuple(container(each)["args"]) for each in CRON_JOBS if each in BASE] == lines


def test_every_manifest_is_what_the_schemas_of_kubernetes_ask_for() -> None:
    kinds = {each["kind"]: each for each in (*BASE, *MORE, *TEMPLATES)}
    for version in VERSIONS:
        for document in (*kinds.values(), called("acme-run"), *MORE):
            kubernetes_validate.validate(document, version, strict=True)


def test_a_misspelt_field_is_seen() -> None:
    wrong = {**called("acme-run"), "spec": {**called("acme-run")["spec"], "timezone": "UTC"}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def overlaid() -> list[Manifest]:
    """Resolve the overlay as kustomize does: what is added, and keys of a ConfigMap that are replaced."""
    [root] = documents(KEPT / "sharded/kustomization.yaml")
    merged = {(each["kind"], each["metadata"]["name"]): each for each in (*BASE, *MORE)}
    assert len(merged) == len(BASE) + len(MORE), "nothing is there twice"
    for patch in documents(*(KEPT / "sharded" / each["path"] for each in root["patches"])):
        changed = merged[patch["kind"], patch["metadata"]["name"]]
        merged[patch["kind"], patch["metadata"]["name"]] = {**changed, "data": {**changed["data"], **patch["data"]}}
    return [*merged.values()]


def test_the_overlay_adds_pulls_and_changes_when_calendars_are_due_and_nothing_else(tmp_path: Path) -> None:
    [config] = [each for each in overlaid() if each["kind"] == "ConfigMap"]
    (tmp_path / "acme.toml").write_text(config["data"]["acme.toml"])
    (tmp_path / "base.toml").write_text(called("acme", BASE)["data"]["acme.toml"])
    for name, text in config["data"].items():
        assert text == called("acme", BASE)["data"][name] or name == "acme.toml"
    (tmp_path / "agents.csv").write_text(config["data"]["agents.csv"])
    sharded, alone = load(tmp_path / "acme.toml", {}), load(tmp_path / "base.toml", {})
    assert sharded.run.due == timedelta(minutes=10), "two slots of the run: the pull that runs now may not be there yet"
    assert sharded.model_copy(update={"run": alone.run, "path": alone.path}) == alone
    assert {each["metadata"]["labels"]["app.kubernetes.io/component"] for each in MORE} == {"pull"}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on this machine")
def test_kustomize_makes_of_it_what_is_tested_here() -> None:
    done = subprocess.run(["kubectl", "kustomize", KEPT / "sharded"], capture_output=True, text=True, check=False)
    if "unknown command" in done.stderr:
        pytest.skip("this kubectl has no kustomize")
    assert done.returncode == 0, done.stderr
    made = {(each["kind"], each["metadata"]["name"]): each for each in loaded(done.stdout)}
    assert made == {(each["kind"], each["metadata"]["name"]): each for each in overlaid()}


# ---- understood by the program --------------------------------------------------------------------------------------


@by_name
def test_every_command_line_is_one_that_the_program_reads(cron: Manifest) -> None:
    said = understood([word.replace("$(JOB_COMPLETION_INDEX)", "0") for word in container(cron)["args"]])
    assert said.command in KINDS
    assert said.job == "acme"
    assert said.options["scheduled"] is True


@by_name
def test_a_run_finds_its_job_and_its_own_line_where_the_container_has_them(cron: Manifest) -> None:
    volumes = {each["name"]: each for each in pod(cron)["volumes"]}
    items = volumes["jobs"]["projected"]["sources"][0]["configMap"]
    config = called(items["name"], BASE)
    assert {each["path"] for each in items["items"]} == {"acme.toml", "agents.csv", "crontab"}
    assert {each["key"] for each in items["items"]} == set(config["data"])
    environment = {each["name"]: each.get("value") for each in container(cron)["env"]}
    assert (container(cron)["workingDir"], environment["RECONCILE_CRONTAB"]) == (FOLDER, f"{JOBS}/crontab")
    assert environment["RECONCILE_JOB"] == "acme"
    lines = schedule.parse(config["data"]["crontab"])
    assert lines.problems == ()
    if cron in BASE:
        said = [(line.expression, line.words, line.zone) for line in lines.entries]
        assert (cron["spec"]["schedule"], tuple(container(cron)["args"]), cron["spec"]["timeZone"]) in said


def test_workers_of_an_indexed_job_are_told_their_part() -> None:
    pull = called("acme-pull")
    job = pull["spec"]["jobTemplate"]["spec"]
    assert (job["completionMode"], job["completions"], job["parallelism"]) == ("Indexed", 4, 4)
    assert (job["backoffLimitPerIndex"], job["maxFailedIndexes"]) == (0, 4)
    assert "backoffLimit" not in job, "with one, the first part that fails would end all others"
    assert container(pull)["args"][-2:] == ["--shard", "$(JOB_COMPLETION_INDEX)/4"]
    assert pull["spec"]["schedule"] == called("acme-run")["spec"]["schedule"]


# ---- secrets --------------------------------------------------------------------------------------------------------


@by_name
def test_everything_that_is_read_of_a_secret_is_in_its_template(cron: Manifest) -> None:
    [template] = [each for each in TEMPLATES if each["metadata"]["name"] == pod(cron)["serviceAccountName"]]
    wanted = {
        each["valueFrom"]["secretKeyRef"]["key"]
        for each in container(cron)["env"]
        if "valueFrom" in each and each["valueFrom"]["secretKeyRef"]["name"] == template["metadata"]["name"]
    }
    for volume in pod(cron)["volumes"]:
        wanted |= {item["key"] for item in volume.get("secret", {}).get("items", [])}
    assert wanted == set(template["stringData"])
    assert sum("valueFrom" in each for each in container(cron)["env"]) + ("google.json" in wanted) == len(wanted)


def test_no_secret_has_a_value_and_none_is_applied_with_the_rest() -> None:
    assert {each["kind"] for each in TEMPLATES} == {"Secret"}
    assert {value for each in TEMPLATES for value in each["stringData"].values()} == {""}
    assert "Secret" not in {each["kind"] for each in (*BASE, *MORE)}, "applied, it would empty the one that there is"
    assert "secrets" not in (KEPT / "base/kustomization.yaml").read_text()


def test_each_command_has_the_secrets_that_it_uses() -> None:
    keys = {each["metadata"]["name"]: set(each["stringData"]) for each in TEMPLATES}
    providers = {"MS_SECRET", "google.json", "DEE_ICS"}
    assert keys == {
        "acme-run": {"STATE_URL", "CRM_URL", "CRM_WRITE_URL", *providers},
        "acme-pull": {"STATE_URL", "CRM_URL", *providers},
        "acme-report": {"STATE_URL", "SMTP_URL"},
        "acme-prune": {"STATE_URL"},
    }


def test_what_else_stands_in_a_crontab_stays_where_it_is(make: Make) -> None:
    crontab = "SMTP_URL=smtp://me:hunter2hunter2@mail.example\nCRON_TZ=UTC\n*/5 * * * * cd /srv && reconcile run acme\n"
    code, made, said = make(ICS, crontab)
    assert code == 0
    assert "hunter2" not in json.dumps(made) + said
    [config] = [each for each in made if each["kind"] == "ConfigMap"]
    assert config["data"]["crontab"] == "RECONCILE_JOB=acme\nCRON_TZ=Etc/UTC\n*/5 * * * * reconcile run acme\n"


@pytest.mark.parametrize(
    ("auth", "secret", "where"),
    [
        ('service_account = "file:keys/google.json"', "google.json", f"{JOBS}/keys/google.json"),
        ('service_account = "file:/run/secrets/google.json"', "google.json", "/run/secrets/google.json"),
        ('service_account = "file:../google.json"', "google.json", f"{FOLDER}/google.json"),
        ('token = "env:TOKEN"', "TOKEN", None),
    ],
)
def test_a_file_of_a_secret_lies_where_the_job_file_says(auth: str, secret: str, where: str | None, make: Make) -> None:
    google = f'kind = "google"\nagents = ["ann@acme.example"]\nauth = {{ {auth} }}\n'
    job = ICS.replace('kind = "ics"\nagent = "ann@acme.example"\nurl = "env:FEED"\n', google)
    code, made, said = make(job, "*/5 * * * * reconcile run acme\n")
    assert code == 0, said
    cron = called("acme-run", [each for each in made if each["kind"] == "CronJob"])
    assert f"secret acme-run must hold: {', '.join(sorted(('STATE_URL', secret, 'CRM_URL'), key=said.index))}" in said
    mounts = {each["mountPath"]: each.get("subPath") for each in container(cron)["volumeMounts"]}
    below = [
        f"{JOBS}/{item['path']}"
        for volume in pod(cron)["volumes"]
        for source in volume.get("projected", {}).get("sources", [])
        for item in source.get("secret", {}).get("items", [])
    ]
    assert where in {None, *mounts, *below}
    assert where is None or (where in mounts) != (where in below)


def test_feeds_that_an_agents_file_names_are_secrets_of_those_who_read(tmp_path: Path, make: Make) -> None:
    (tmp_path / "jobs/agents.csv").write_text(
        "agent,calendar\nann@acme.example,env:ANN\nbob@acme.example,file:bob.url\n"
    )
    job = ICS.replace('agent = "ann@acme.example"\nurl = "env:FEED"', 'agents = { file = "agents.csv" }')
    _, _, said = make(job, "*/5 * * * * reconcile run acme\n0 4 * * * reconcile status acme\n")
    assert "secret acme-run must hold: STATE_URL, CRM_URL, ANN, bob.url\n" in said
    assert said.endswith("secret acme-status must hold: STATE_URL\n")


def test_who_only_reads_holds_no_key_to_write_with() -> None:
    job = load(ROOT / "jobs/two-way.toml", {})
    keys = {kind: {each.key for each in held(job, kind)} for kind in ("run", "pull", "check", "status")}
    assert keys["run"] - keys["pull"] == {"google-write.json", "CRM_WRITE_URL"}
    assert keys["pull"] == {"google.json", "CRM_URL"}
    assert (keys["check"], keys["status"]) == (keys["run"], set())


def test_what_the_cluster_itself_hands_out_is_in_no_secret(make: Make) -> None:
    auth = 'tenant = "acme.example", client_id = "x", federated = "file:/var/run/secrets/azure/token"'
    microsoft = f'kind = "microsoft"\nagents = ["ann@acme.example"]\nauth = {{ {auth} }}\n'
    job = ICS.replace('kind = "ics"\nagent = "ann@acme.example"\nurl = "env:FEED"\n', microsoft)
    _, _, said = make(job, RUN)
    assert "secret acme-run must hold: STATE_URL, CRM_URL\n" in said
    assert "annotate the accounts" in said


def test_a_machine_s_own_credential_is_asked_of_the_machine_alone(make: Make) -> None:
    google = 'kind = "google"\nagents = ["ann@acme.example"]\nauth = { impersonate = "a@b.iam.gserviceaccount.com" }\n'
    _, made, _ = make(ICS.replace('kind = "ics"\nagent = "ann@acme.example"\nurl = "env:FEED"\n', google), RUN)
    [rule] = dict(policies(made))["acme-run-to-metadata"]["egress"]
    assert [each["ipBlock"]["cidr"] for each in rule["to"]] == ["169.254.169.254/32", "169.254.169.252/32"]


def test_agents_by_a_query_are_asked_of_the_crm_whoever_needs_them(make: Make) -> None:
    google = 'kind = "google"\nagents = { query = "SELECT email AS agent FROM users" }\nauth = { token = "env:T" }\n'
    job = ICS.replace('kind = "ics"\nagent = "ann@acme.example"\nurl = "env:FEED"\n', google)
    code, made, said = make(job, "0 4 * * * reconcile report acme\n")
    assert code == 0, said
    assert said == "secret acme-report must hold: STATE_URL, CRM_URL\n"
    cron = called("acme-report", [each for each in made if each["kind"] == "CronJob"])
    assert container(cron)["resources"]["requests"]["memory"] == f"{sizing.memory(sizing.UNKNOWN)}Mi"


# ---- rights ---------------------------------------------------------------------------------------------------------


@by_name
def test_a_pod_keeps_to_what_the_level_restricted_permits(cron: Manifest) -> None:
    spec, only = pod(cron), container(cron)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["fsGroup"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {key for volume in spec["volumes"] for key in volume} <= {"name", "emptyDir", "projected", "secret"}
    assert (spec["automountServiceAccountToken"], spec["restartPolicy"]) == (False, "Never")
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(spec)
    assert "command" not in only, "the image's own entry point, and no shell"
    writable = {each["mountPath"] for each in only["volumeMounts"] if not each.get("readOnly")}
    assert writable == {"/tmp", FOLDER}  # noqa: S108  # its own


def test_the_namespace_refuses_pods_that_want_more() -> None:
    [namespace] = [each for each in BASE if each["kind"] == "Namespace"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {
        each["metadata"].get("namespace", namespace["metadata"]["name"]) for each in (*BASE, *MORE, *TEMPLATES)
    } == {namespace["metadata"]["name"]}


@by_name
def test_each_command_has_an_account_without_a_token(cron: Manifest) -> None:
    account = called(
        pod(cron)["serviceAccountName"], [each for each in (*BASE, *MORE) if each["kind"] == "ServiceAccount"]
    )
    assert account["automountServiceAccountToken"] is False
    assert not {each["kind"] for each in (*BASE, *MORE)} & {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}


@by_name
def test_one_start_at_a_time_is_made_and_is_ended_in_time(cron: Manifest) -> None:
    spec, job = cron["spec"], cron["spec"]["jobTemplate"]["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["startingDeadlineSeconds"] >= 10, "the controller looks every ten seconds"
    deadline = load(ROOT / "jobs/acme.toml", {}).run.deadline
    assert deadline is not None
    assert job["activeDeadlineSeconds"] > deadline.total_seconds() + pod(cron)["terminationGracePeriodSeconds"]
    [taken, answered] = job["podFailurePolicy"]["rules"]
    assert (taken["action"], taken["onPodConditions"][0]["type"]) == ("Ignore", "DisruptionTarget")
    assert answered["onExitCodes"] == {
        "containerName": container(cron)["name"],
        "operator": "In",
        "values": [1, 2, 3, 4, 5, 75],
    }
    assert answered["action"] == ("FailIndex" if "completions" in job else "FailJob")
    assert job.get("backoffLimit", job.get("backoffLimitPerIndex")) == 0


def test_every_exit_code_of_the_program_ends_the_job() -> None:
    known = [error for error in vars(errors).values() if isinstance(error, type)]
    every = {error.exit_code for error in known if issubclass(error, errors.ReconcilerError)}
    assert set(CODES) == (every | {running.DIFFERENCES}) - {0}


# ---- network --------------------------------------------------------------------------------------------------------


def policies(some: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    yield from ((each["metadata"]["name"], each["spec"]) for each in some if each["kind"] == "NetworkPolicy")


def ports(cron: Manifest) -> dict[str, set[int]]:
    """Return what a pod of a CronJob may reach, by the name of the policy that selects it."""
    labels = cron["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"].items()
    found = {}
    for name, spec in policies([*BASE, *MORE]):
        if spec["podSelector"].get("matchLabels", {}).items() <= labels:
            found[name] = {port["port"] for rule in spec.get("egress", []) for port in rule["ports"]}
    return found


def test_what_no_policy_names_is_closed() -> None:
    closed = dict(policies(BASE))["default-deny"]
    assert closed == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for name, spec in policies([*BASE, *MORE]):
        assert (
            spec["policyTypes"] == ["Ingress", "Egress"]
            if name == "default-deny"
            else spec["policyTypes"] == ["Egress"]
        )
        assert "ingress" not in spec
        for rule in spec.get("egress", []):
            assert rule["ports"], "a rule without ports would open all of them"


def test_each_policy_is_for_a_command_that_there_is() -> None:
    used = {name for cron in CRON_JOBS for name in ports(cron)}
    assert used == {name for name, _ in policies([*BASE, *MORE])}


def test_each_command_reaches_what_it_talks_to_and_nothing_else() -> None:
    names_only = {"default-deny": set(), "to-names": {53}}
    reading = {"databases": {3306, 5432}, "calendars": {443}}
    reached = {
        "acme-run": reading,
        "acme-pull": reading,
        "acme-report": {"databases": {5432}, "mail": {465, 587}},
        "acme-prune": {"databases": {5432}},
    }
    for name, wanted in reached.items():
        found = ports(called(name))
        assert found.pop(f"{name}-to-pushgateway") == {9091}, "each of them leaves figures"
        assert found == {**names_only, **{f"{name}-to-{what}": some for what, some in wanted.items()}}


def test_calendars_are_in_the_internet_and_not_in_the_neighbourhood() -> None:
    [rule] = dict(policies(BASE))["acme-run-to-calendars"]["egress"]
    assert {"10.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16"} <= set(rule["to"][0]["ipBlock"]["except"])
    [push] = dict(policies(BASE))["acme-run-to-pushgateway"]["egress"]
    assert push["to"] == [{"namespaceSelector": {}}], "a gateway in the cluster is looked for nowhere else"


# ---- names, times, sizes --------------------------------------------------------------------------------------------

DNS = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")


@given(st.text(min_size=1, max_size=300), st.text(min_size=1, max_size=300))
def test_any_word_becomes_a_name_that_a_cluster_takes_and_two_stay_two(one: str, other: str) -> None:
    for most in (names.LONGEST, names.LONGEST_JOB):
        assert DNS.fullmatch(names.label(one, most))
        assert len(names.label(one, most)) <= most
        assert (names.label(one, most) == names.label(other, most)) == (one == other)
    assert re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", names.key(one))


def test_a_name_that_a_cluster_takes_stays_as_it_is() -> None:
    assert [names.label(word) for word in ("acme", "acme-north-2")] == ["acme", "acme-north-2"]
    assert [names.key(word)[:2] for word in (".env", "..data", "..")] == [".e", "da", "-8"], "two dots are refused"
    assert [names.label(word)[:-6] for word in ("Acme", "a.b", "2nd", "Ünï")] == ["acme-", "a-b-", "nd-", "n-"]


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("0 4 * * 7", "0 4 * * 0"),
        ("0 4 * * 5-7", "0 4 * * 0,5,6"),
        ("0 4 * * 1,7", "0 4 * * 0,1"),
        ("0 4 * * 1-7/2", "0 4 * * 0,1,3,5"),
        ("0 4 * * mon-fri", "0 4 * * mon-fri"),
        ("7-59/15 * 1 jan *", "7-59/15 * 1 jan *"),
    ],
)
def test_a_cluster_knows_no_seventh_day_of_the_week(said: str, meant: str) -> None:
    assert timing.expression(said) == meant


@pytest.mark.parametrize("said", ["0 4 1 * 1", "0 4 */2 * mon", "0 4 * * mon-7", "0 4 * *"])
def test_what_cron_and_a_cluster_read_differently_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match=r"day|fields"):
        timing.expression(said)


def test_a_start_is_made_up_for_until_the_next_slot() -> None:
    minutes, days = timedelta(minutes=5), timedelta(days=31)
    assert [timing.starting(gap) for gap in (timedelta(seconds=1), minutes, days, None)] == [10, 300, 604_800, 604_800]


def test_a_run_has_its_deadline_its_jitter_and_two_minutes_and_what_has_none_an_hour(make: Make) -> None:
    job = ICS + '[run]\ndeadline = "4m"\njitter = "90s"\n'
    _, made, _ = make(job, RUN + "0 4 * * * reconcile status acme\n")
    ends = {
        each["metadata"]["name"]: each["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"]
        for each in made
        if each["kind"] == "CronJob"
    }
    assert ends == {"acme-run": 240 + 90 + 120, "acme-status": 3600 + 120}


def test_a_check_reaches_all_that_the_others_reach(make: Make) -> None:
    mail = '[report]\nmail = { to = ["ops@acme.example"], from = "r@acme.example", smtp = "env:SMTP" }\n'
    _, made, _ = make(ICS + mail, "0 4 * * * reconcile check acme\n")
    found = {name for name, _ in policies(made)} - {"default-deny", "to-names"}
    assert found == {f"acme-check-to-{what}" for what in ("databases", "calendars", "mail")}


def test_what_is_reserved_is_more_than_was_ever_measured() -> None:
    text = (ROOT / "benchmarks/RESULTS.md").read_text()
    measured = re.findall(
        r"^## ([\d,]+) events.*?\*\*first run[^|]*\|[^|]*\|[^|]*\|[^|]*\| (\d+) ", text, re.MULTILINE | re.DOTALL
    )
    assert len(measured) >= 3
    for events, peak in measured:
        assert sizing.memory(int(events.replace(",", "")) // 200) > int(peak)


# ---- what is refused, and what is said ------------------------------------------------------------------------------

RUN = "*/5 * * * * reconcile run acme --scheduled\n"


@pytest.mark.parametrize(
    ("crontab", "job", "words", "says"),
    [
        (RUN, ICS.replace("env:STATE_URL", "sqlite:///var/acme.db"), [], "--state env:STATE_URL"),
        ("*/5 * * * * reconcile run acme --nope\n", ICS, [], "crontab line 1: No such option: --nope"),
        ("*/5 * * * * reconcile demo\n", ICS, [], "nothing that a cluster starts by itself"),
        ("*/5 * * * * reconcile run acme --help\n", ICS, [], "does nothing"),
        ("*/5 * * * * reconcile run beta\n", ICS, [], 'no job file "beta"'),
        ("0 4 1 * 1 reconcile run acme\n", ICS, [], "two lines"),
        ("61 * * * * reconcile run acme\n", ICS, [], "no time that cron knows"),
        ("# nothing\n", ICS, [], "starts nothing on this job"),
        ("0 9 * * * reconcile report acme --html r-$(date +\\%F).html --scheduled\n", ICS, [], "a pod has none"),
        ("0 9 * * * reconcile report acme --since `date +\\%F`\n", ICS, [], "a pod has none"),
        ("0 9 * * * reconcile run acme || reconcile report acme --send\n", ICS, [], "a line of its own"),
        (RUN, ICS + '[report]\nlogo = "/elsewhere/logo.png"\n', [], "outside of the job file's folder"),
        (RUN, ICS, ["--shards", "1"], "from 2 to"),
        (RUN, ICS, ["--state", "postgresql://me:hunter2@db/acme"], "--state: holds a password"),
        (RUN, ICS, ["--state", "env:no name"], "--state: names no environment variable"),
        (RUN, ICS, ["--state", "mysql://db/acme"], "--state: is a mysql database"),
        (RUN, ICS, ["--pushgateway", "push:9091"], "--pushgateway: is not a URL"),
        (RUN, ICS, ["--output", "crontab"], "crontab can't be written to"),
        (RUN + "* * * * * reconcile pull acme\n", ICS, ["--shards", "2"], "keep one"),
        (RUN + "* * * * * reconcile pull acme --shard 1/2\n", ICS, [], ""),
        ("0 4 * * * reconcile report acme\n", ICS, ["--shards", "2"], "nothing would compare"),
        (RUN, ICS.replace('state = "env:STATE_URL"', 'state = """env:STATE_URL"""'), ["--state", "env:X"], ""),
        (RUN, ICS.replace('"env:FEED"', '"file:/feed"'), [], "lies in no folder"),
    ],
)
def test_what_can_not_be_had_in_a_cluster_is_said_and_nothing_is_written(
    crontab: str, job: str, words: list[str], says: str, make: Make
) -> None:
    code, made, said = make(job, crontab, *words)
    assert says in said
    assert "hunter2" not in said
    assert (code, made) == (2, []) if says else code == 0


def test_all_lines_that_are_wrong_are_said_at_once(make: Make) -> None:
    _, _, said = make(ICS, "*/5 * * * * reconcile run acme --nope\n* * * * * reconcile run beta\n@often reconcile\n")
    assert [f"line {number}" in said for number in (1, 3)] == [True, True]
    assert "beta" in said
    assert said.startswith("reconcile: 3 problems")


def test_what_starts_with_the_machine_is_left_out_and_said(make: Make) -> None:
    code, made, said = make(ICS, f"@reboot reconcile run acme\n{RUN}")
    assert (code, [each["metadata"]["name"] for each in made if each["kind"] == "CronJob"]) == (0, ["acme-run"])
    assert "crontab line 1: what starts with the machine (@reboot) is left out" in said


def test_files_that_nothing_makes_any_more_go_and_those_of_others_stay(make: Make, tmp_path: Path) -> None:
    folder = tmp_path / "deploy"
    assert make(ICS, RUN, "--shards", "2", "--output", "deploy", "--quiet")[0] == 0
    (folder / "base/gateway.yaml").write_text((folder / "base/config.yaml").read_text())  # as if it had been ours once
    (folder / "base/own.yaml").write_text("kind: Service\n")
    (folder / "base/linked.yaml").symlink_to(folder / "base/config.yaml")
    before = {path.name: path.read_text() for path in folder.glob("base/*")}
    code, _, said = make(ICS, RUN, "--output", "deploy")
    assert code == 0
    assert "7 files removed that nothing makes any more: base/gateway.yaml, sharded/accounts.yaml, " in said
    assert {path.name: path.read_text() for path in folder.glob("base/*")} == {
        name: text for name, text in before.items() if name != "gateway.yaml"
    }
    assert not (folder / "sharded").exists()
    assert "removed" not in make(ICS, RUN, "--output", "deploy")[2]


def test_an_overlay_that_somebody_added_to_keeps_what_they_added(make: Make, tmp_path: Path) -> None:
    make(ICS, RUN, "--shards", "2", "--output", "deploy")
    (tmp_path / "deploy/sharded/own.yaml").write_text("kind: Service\n")
    make(ICS, RUN, "--output", "deploy")
    assert [path.name for path in (tmp_path / "deploy/sharded").iterdir()] == ["own.yaml"]


def test_what_a_pod_has_not_is_said(make: Make) -> None:
    job = ICS.replace('url = "env:FEED"', 'path = "ann.ics"').replace("env:CRM_URL", "sqlite:///crm.db")
    job += '[metrics]\ntextfile = "acme.prom"\n'
    _, _, said = make(job, "*/5 * * * * reconcile run\n0 4 1 * * reconcile report --html page.html\n")
    for what in ("--pushgateway URL", "ann.ics is a file", "the CRM is a file", "crontab line 2: the file"):
        assert what in said
    code, _, said = make(job, RUN, "--quiet")
    assert (code, said) == (0, "")


@pytest.mark.parametrize(
    ("calendar", "is_said"), [("ann.ics", True), ("env:ANN", False), ("https://a.example/", False)]
)
def test_calendars_on_a_disk_are_said_where_an_agents_file_names_them(
    calendar: str, make: Make, tmp_path: Path, *, is_said: bool
) -> None:
    (tmp_path / "jobs/agents.csv").write_text(f"agent,calendar\nann@acme.example,{calendar}\n")
    job = ICS.replace('agent = "ann@acme.example"\nurl = "env:FEED"', 'agents = { file = "agents.csv" }')
    _, _, said = make(job, RUN)
    assert ("calendars of ics are files of this machine" in said) is is_said


def test_the_state_and_the_gateway_of_a_cluster_change_the_copy_and_nothing_else(
    make: Make,
) -> None:
    job = ICS.replace('state = "env:STATE_URL"', 'state = "sqlite:///a.db"  # here') + '[metrics]\ntextfile = "a"\n'
    words = (
        "--state",
        "env:STATE",
        "--pushgateway",
        "http://push.example:9000",
        "--shards",
        "3",
        "--image",
        "x@sha256:0",
    )
    code, made, said = make(job, RUN, *words, RECONCILE_ALLOW_HOSTS="calendar.example")
    assert code == 0, said
    [config] = [each for each in made if each["kind"] == "ConfigMap"]
    assert config["data"]["acme.toml"] == (
        ICS.replace("env:STATE_URL", "env:STATE")
        + '[metrics]\npushgateway = "http://push.example:9000"\n\n[run]\ndue = "600s"\n'
    )
    run = called("acme-run", [each for each in made if each["kind"] == "CronJob"])
    assert container(run)["image"] == "x@sha256:0"
    assert {"name": "RECONCILE_ALLOW_HOSTS", "value": "calendar.example"} in container(run)["env"]
    push = dict(policies(made))["acme-run-to-pushgateway"]
    assert push["egress"] == [{"ports": [{"port": 9000, "protocol": "TCP"}]}]


def test_a_pod_s_crontab_says_what_the_one_outside_says_each_line_in_its_zone(make: Make) -> None:
    lines = (
        "0 4 * * * reconcile status acme\n"
        "CRON_TZ=Europe/Berlin\n*/5 * * * * reconcile run acme --scheduled\n"
        "CRON_TZ=America/Chicago\n0 7 * * * reconcile report acme --html 'of 5\\% and more.html'\n"
    )
    code, made, said = make(ICS, lines)
    assert code == 0, said
    inside = schedule.parse(called("acme", [each for each in made if each["kind"] == "ConfigMap"])["data"]["crontab"])
    assert inside.problems == ()
    crons = [each for each in made if each["kind"] == "CronJob"]
    assert [(one.zone, one.words) for one in inside.entries] == [
        (cron["spec"]["timeZone"], tuple(container(cron)["args"])) for cron in crons
    ]
    assert [one.zone for one in inside.entries] == ["Etc/UTC", "Europe/Berlin", "America/Chicago"]
    assert inside.entries[2].words[-1] == "of 5% and more.html"


def test_jobs_and_calls_are_told_apart_however_they_are_named(tmp_path: Path, make: Make) -> None:
    long = "Office_" + "north" * 11
    for name in ("Acme", "acme.north"):
        (tmp_path / f"jobs/{name}.toml").write_text(ICS)
    lines = "".join(
        f"{minute} * * * * reconcile {words}\n"
        for minute, words in enumerate(
            [f"run {long}", "run acme.north", "run jobs/Acme.toml", "report Acme --send", "report Acme --send --again"]
        )
    )
    code, made, said = make(ICS, lines, name=long)
    assert code == 0, said
    crons = [each for each in made if each["kind"] == "CronJob"]
    labels = [each["metadata"]["name"] for each in (*crons, *(each for each in made if each["kind"] == "ConfigMap"))]
    assert len(set(labels)) == len(labels) == 8
    assert all(DNS.fullmatch(label) and len(label) <= 52 for label in labels)
    assert [container(each)["args"][1] for each in crons] == [long, "acme.north", "Acme", "Acme", "Acme"]
    _, made, _ = make(ICS, lines, "--job", "Acme", name=long)
    assert len([each for each in made if each["kind"] == "CronJob"]) == 3


def test_two_files_of_one_name_are_two_jobs_and_a_cluster_gets_neither(make: Make, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/acme.toml").write_text(ICS.replace('"acme"', '"other"'))
    lines = RUN + "*/7 * * * * reconcile run other/acme.toml --scheduled\n"
    code, made, said = make(ICS, lines)
    assert (code, made) == (2, [])
    assert 'several job files called "acme"' in said
    code, made, said = make(ICS, lines, "--job", "other/acme.toml")
    assert code == 0, said
    assert called("acme", made)["data"]["acme.toml"].startswith('\nname = "other"')


def test_pulls_stand_beside_the_run_that_compares_everything_slot_by_slot(make: Make) -> None:
    others = "".join(
        f"{when} reconcile run acme --scheduled {option}\n"
        for when, option in [("30 3 * * 0", "--full"), ("* * * * *", "--dry-run"), ("* * * * *", "--only a@b.example")]
    )
    code, made, said = make(ICS, others + RUN, "--shards", "2")
    assert code == 0, said
    assert called("acme-pull", [each for each in made if each["kind"] == "CronJob"])["spec"]["schedule"] == RUN[:11]
    assert 'due = "600s"' in called("acme", [each for each in made if each["kind"] == "ConfigMap"])["data"]["acme.toml"]
    code, _, said = make(ICS, "0 4 * * * reconcile run acme --dry-run\n", "--shards", "2")
    assert (code, "nothing would compare" in said) == (2, True)


def test_a_variable_and_a_file_of_one_name_are_two_keys_of_a_secret(make: Make) -> None:
    _, _, said = make(ICS.replace("env:FEED", "file:keys/CRM_URL"), RUN)
    assert re.search(r"must hold: STATE_URL, CRM_URL, srv-reconcile-jobs-keys-CRM_URL-\w{6}\n", said)


def test_what_a_config_map_has_room_for_is_counted_in_bytes(make: Make, tmp_path: Path) -> None:
    (tmp_path / "jobs/agents.csv").write_text(f"agent,calendar,office\nann@acme.example,a.ics,{'ü' * 600_000}\n")
    job = ICS.replace('agent = "ann@acme.example"\nurl = "env:FEED"', 'agents = { file = "agents.csv" }')
    code, _, said = make(job, RUN)
    assert (code, "a ConfigMap takes 1,000,000" in said) == (2, True)


def test_ports_that_addresses_in_a_jobs_files_name_are_open(make: Make, tmp_path: Path) -> None:
    feed = "https://feeds.example:8443/ann.ics"
    (tmp_path / "jobs/agents.csv").write_text(f"agent,calendar\nann@acme.example,{feed}\nbob@acme.example,env:BOB\n")
    listed = ICS.replace('agent = "ann@acme.example"\nurl = "env:FEED"', 'agents = { file = "agents.csv" }')
    for job in (ICS.replace("env:FEED", feed), listed):
        _, made, _ = make(job, RUN)
        [rule] = dict(policies(made))["acme-run-to-calendars"]["egress"]
        assert [port["port"] for port in rule["ports"]] == [443, 8443]


def test_what_is_generated_can_be_had_as_json(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, made, _ = make(ICS, RUN)
    assert call(tmp_path, "generate", "kubernetes", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out) == {"apiVersion": "v1", "kind": "List", "items": made}


@given(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from(["\n", "", "\r\n", " \n", "\n\n  "]))
def test_any_text_is_the_same_for_who_reads_it(text: str, end: str) -> None:
    said = [{"data": {text: text + end + text, "on": "0x1f", "no": "*/5 * * * *"}}]
    assert list(yaml.safe_load_all(dumped(said))) == said


def test_the_commands_of_the_page_are_commands() -> None:
    page = (ROOT / "docs/kubernetes.md").read_text()
    lines = [line for part in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) for line in part.splitlines()]
    assert [understood(line.split()[1:]).command for line in lines] == ["generate kubernetes"] * 2
    options = {f"--{name}" for name in understood(["generate", "kubernetes"]).options}
    assert options == set(re.findall(r"^\| `(--\w+)", page, re.MULTILINE))


# ---- the copy of a job file -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ('a = 1 # one\n[run]\n# two\ndue = "1m"\n', 'a = 1 # one\n[run]\n# two\ndue = "9s"\n'),
        ("a = 1\n[run]\n[[source]]\ndue = 2\n", 'a = 1\n[run]\ndue = "9s"\n[[source]]\ndue = 2\n'),
        ("a = 1\n", 'a = 1\n\n[run]\ndue = "9s"\n'),
        ("[ run ] # x\nb = 2", '[ run ] # x\ndue = "9s"\nb = 2'),
    ],
)
def test_one_value_changes_and_the_text_stays(text: str, after: str) -> None:
    assert adapted(text, {("run", "due"): "9s"}) == after


@pytest.mark.parametrize(
    "text", ['run = { due = "1m" }\n', 'run.due = "1m"\n', '[run]\ndue = """\n1m"""\n', '["run"]\n']
)
def test_what_can_not_be_changed_in_a_line_of_its_own_is_left_alone_and_said(text: str) -> None:
    with pytest.raises(ConfigError, match=r"run\.due: can't be changed"):
        adapted(text, {("run", "due"): "9s"})
