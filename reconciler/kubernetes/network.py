"""Who may talk to whom: nobody, but for what a policy of its own name allows to one kind of command."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from reconciler.kubernetes.deployment import COMMON, Call, Manifest, Whereto, manifest
from reconciler.kubernetes.names import label

DNS: Final = 53
LONGEST: Final = 253

PRIVATE: Final = ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
PRIVATE_6: Final = ("fc00::/7", "fe80::/10", "::1/128")
METADATA: Final = ("169.254.169.254/32", "169.254.169.252/32")
"""Google's metadata server, and where GKE answers in its place."""
_LOCAL_DNS: Final = "169.254.20.10/32"
"""NodeLocal DNSCache, which no selector reaches: it is on the node's own network (kubernetes.io)."""
_NAMESPACE: Final = "kubernetes.io/metadata.name"

PEERS: Final[dict[Whereto, list[dict[str, Any]]]] = {
    Whereto.ANYWHERE: [],
    Whereto.INTERNET: [
        {"ipBlock": {"cidr": "0.0.0.0/0", "except": [*PRIVATE]}},
        {"ipBlock": {"cidr": "::/0", "except": [*PRIVATE_6]}},
    ],
    Whereto.CLUSTER: [{"namespaceSelector": {}}],
    Whereto.METADATA: [{"ipBlock": {"cidr": cidr}} for cidr in METADATA],
}


def policies(calls: Iterable[Call]) -> Iterator[Manifest]:
    """Yield what closes everything, what lets names be looked up, and each thing that a kind of command talks to."""
    yield manifest(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        "default-deny",
        COMMON,
        spec={"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
    )
    names = [{"port": DNS, "protocol": protocol} for protocol in ("UDP", "TCP")]
    resolvers = [
        {"namespaceSelector": {"matchLabels": {_NAMESPACE: "kube-system"}}},
        {"ipBlock": {"cidr": _LOCAL_DNS}},
    ]
    yield _egress("to-names", COMMON, COMMON, {"ports": names, "to": resolvers})
    for call in {call.account: call for call in calls}.values():
        for reach in call.reaches:
            rule: Manifest = {"ports": [{"port": port, "protocol": "TCP"} for port in reach.ports]}
            if peers := PEERS[reach.whereto]:
                rule["to"] = peers
            yield _egress(label(f"{call.account}-to-{reach.name}", 63), call.labels, call.labels, rule)


def _egress(name: str, labels: dict[str, str], pods: dict[str, str], rule: Manifest) -> Manifest:
    spec = {"podSelector": {"matchLabels": dict(pods)}, "policyTypes": ["Egress"], "egress": [rule]}
    return manifest("networking.k8s.io/v1", "NetworkPolicy", name, labels, spec=spec)
