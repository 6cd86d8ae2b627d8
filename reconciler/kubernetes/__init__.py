"""From a schedule and its jobs to manifests for Kubernetes, as plain values, the same for the same files.

Nothing is read or written here, and no Secret is ever given a value: a template names what each must hold.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from reconciler.kubernetes.cronjob import cron_job
from reconciler.kubernetes.deployment import COMMON, NAMESPACE, Call, Manifest, Office, manifest
from reconciler.kubernetes.names import key
from reconciler.kubernetes.network import policies

SECRETS: Final = "secrets.template.yaml"
"""The one file that is no resource of a kustomization: applied as it is, it would empty the Secrets that there are."""

Files = dict[str, list[Manifest]]


def base(calls: Sequence[Call], image: str) -> Files:
    """Return the documents of each file for these calls, but for their Secrets."""
    offices = {call.office.name: call.office for call in calls}
    return {
        "namespace.yaml": [_namespace()],
        "config.yaml": [_config(office) for office in offices.values()],
        "accounts.yaml": [*_accounts(calls)],
        "network.yaml": [*policies(calls)],
        "cronjobs.yaml": [cron_job(call, image) for call in calls],
    }


def overlay(pulls: Sequence[Call], changed: Mapping[str, Mapping[str, str]], image: str) -> tuple[Files, Files]:
    """Return what sharded pulls add to the base, and what they change in it: files of ConfigMaps, by job."""
    shared = {"default-deny", "to-names"}
    more = {
        "accounts.yaml": [*_accounts(pulls)],
        "network.yaml": [each for each in policies(pulls) if each["metadata"]["name"] not in shared],
        "cronjobs.yaml": [cron_job(call, image) for call in pulls],
    }
    patches = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "data": {key(path): text for path, text in files.items()},
        }
        for name, files in changed.items()
    ]
    return more, {"config.yaml": patches}


def secrets(calls: Iterable[Call]) -> list[Manifest]:
    """Return a template of each Secret: its keys, and no values."""
    held: dict[str, dict[str, str]] = {}
    for call in calls:
        held.setdefault(call.account, {}).update({each.key: "" for each in call.held})
    labels = {call.account: call.labels for call in calls}
    return [manifest("v1", "Secret", name, labels[name], type="Opaque", stringData=keys) for name, keys in held.items()]


def kustomization(resources: Iterable[str], patches: Iterable[str] = ()) -> Manifest:
    """Return what `kubectl apply -k` reads first."""
    made: Manifest = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [*resources],
    }
    if changes := [{"path": path} for path in patches]:
        made["patches"] = changes
    return made


def _namespace() -> Manifest:
    levels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    labels = {**COMMON, **levels}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}


def _config(office: Office) -> Manifest:
    labels = {**COMMON, "app.kubernetes.io/instance": office.name}
    made = manifest("v1", "ConfigMap", office.name, labels)
    made["data"] = {key(path): content for path, content in office.files.items() if isinstance(content, str)}
    if binary := {key(path): content for path, content in office.files.items() if isinstance(content, bytes)}:
        made["binaryData"] = {name: b64encode(content).decode() for name, content in binary.items()}
    return made


def _accounts(calls: Iterable[Call]) -> Iterator[Manifest]:
    """Yield an account for each kind of command: it has no token and no right, and keeps the cluster's own away."""
    for call in {call.account: call for call in calls}.values():
        yield manifest("v1", "ServiceAccount", call.account, call.labels, automountServiceAccountToken=False)


__all__ = ["SECRETS", "Call", "Files", "Manifest", "Office", "base", "kustomization", "overlay", "secrets"]
