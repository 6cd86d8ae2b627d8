"""One call by the schedule as a CronJob: at most one at a time, ended in time, and with no right that it does not need.

A run that failed is not repeated: the next slot is a few minutes away and derives everything again.
"""

from __future__ import annotations

from typing import Any, Final

from reconciler.kubernetes.deployment import CRONTAB, FOLDER, JOBS, Call, Held, Manifest, manifest
from reconciler.kubernetes.names import key
from reconciler.kubernetes.sizing import SOURCE, resources
from reconciler.kubernetes.timing import GRACE

USER: Final = 65532
"""The user without a name that the Containerfile runs as; nobody's on common systems."""
CONTAINER: Final = "reconcile"
KEPT: Final = 86_400
"""Seconds after which what is left of a run goes: its pod and its log. What it did is in the state database."""

CODES: Final = {
    1: "internal error",
    2: "usage or configuration",
    3: "differences found",
    4: "refused as unsafe, nothing applied",
    5: "partial",
    75: "another run holds the lock",
}
"""Exit codes that say that the work is over: doing it again at once would end the same way."""

_INDEX: Final = "$(JOB_COMPLETION_INDEX)"
_PRIVATE: Final = 0o440  # of root and of the group that the process is in


def cron_job(call: Call, image: str) -> Manifest:
    """Return the CronJob of a call."""
    annotations = {
        "reconcile/exit-codes": " · ".join(f"{code} {meaning}" for code, meaning in {0: "done", **CODES}.items()),
        "reconcile/resources": SOURCE,
    }
    spec = {
        "schedule": call.schedule,
        "timeZone": call.zone,
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": call.starting,
        "successfulJobsHistoryLimit": 1,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {"metadata": {"labels": call.labels}, "spec": _job(call, image)},
    }
    made = manifest("batch/v1", "CronJob", call.name, call.labels, spec=spec)
    made["metadata"]["annotations"] = annotations
    return made


def _job(call: Call, image: str) -> Manifest:
    return {
        **(_indexed(call.shards) if call.shards else {"backoffLimit": 0}),
        "activeDeadlineSeconds": call.active,
        "ttlSecondsAfterFinished": KEPT,
        "podFailurePolicy": {"rules": _rules("FailIndex" if call.shards else "FailJob")},
        "template": {"metadata": {"labels": call.labels}, "spec": _pod(call, image)},
    }


def _indexed(shards: int) -> Manifest:
    """One pod for each part. A part that fails takes none of the others with it, nor is it tried again."""
    return {
        "completionMode": "Indexed",
        "completions": shards,
        "parallelism": shards,
        "backoffLimitPerIndex": 0,
        "maxFailedIndexes": shards,
    }


def _rules(action: str) -> list[Manifest]:
    """A pod that the cluster took away says nothing of its run, and gets another one; an exit code is an answer."""
    return [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": action, "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": [*CODES]}},
    ]


def _pod(call: Call, image: str) -> Manifest:
    return {
        "restartPolicy": "Never",
        "serviceAccountName": call.account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": int(GRACE.total_seconds()),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(call, image)],
        "volumes": _volumes(call),
    }


def _container(call: Call, image: str) -> Manifest:
    return {
        "name": CONTAINER,
        "image": image,
        "args": [*call.words, *(["--shard", f"{_INDEX}/{call.shards}"] if call.shards else [])],
        "workingDir": FOLDER,
        "env": _environment(call),
        "resources": resources(call.office.calendars),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  # its own, and gone with the pod
            {"name": "folder", "mountPath": FOLDER},
            {"name": "jobs", "mountPath": JOBS, "readOnly": True},
            *(
                {"name": "secrets", "mountPath": held.path, "subPath": held.key, "readOnly": True}
                for held in _elsewhere(call)
            ),
        ],
    }


def _environment(call: Call) -> list[Manifest]:
    plain = {"RECONCILE_CRONTAB": f"{JOBS}/{CRONTAB}", **call.variables}
    secret = [
        {"name": held.variable, "valueFrom": {"secretKeyRef": {"name": call.account, "key": held.key}}}
        for held in call.held
        if held.variable
    ]
    return [*({"name": name, "value": value} for name, value in plain.items()), *secret]


# ---- volumes --------------------------------------------------------------------------------------------------------


def _volumes(call: Call) -> list[Manifest]:
    config = [{"key": key(path), "path": path} for path in call.office.files]
    sources: list[Any] = [{"configMap": {"name": call.office.name, "items": config}}]
    if beside := [{"key": held.key, "path": path} for held in call.held if (path := _below_jobs(held))]:
        sources.append({"secret": {"name": call.account, "items": beside}})
    volumes: list[Any] = [
        {"name": "tmp", "emptyDir": {"sizeLimit": "512Mi"}},
        {"name": "folder", "emptyDir": {"sizeLimit": "256Mi"}},
        {"name": "jobs", "projected": {"defaultMode": _PRIVATE, "sources": sources}},
    ]
    if elsewhere := [{"key": held.key, "path": held.key} for held in _elsewhere(call)]:
        secret = {"secretName": call.account, "defaultMode": _PRIVATE, "items": elsewhere}
        volumes.append({"name": "secrets", "secret": secret})
    return volumes


def _below_jobs(held: Held) -> str:
    """Return where a file of a Secret lies below `jobs/`, or nothing if it lies elsewhere."""
    above, _, below = (held.path or "").partition(f"{JOBS}/")
    return "" if above else below


def _elsewhere(call: Call) -> list[Held]:
    """Return the files of a Secret that are mounted one by one: a folder would hide what the image has there."""
    return [held for held in call.held if held.path and not _below_jobs(held)]
