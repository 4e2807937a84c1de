"""Manifests: what makes up a namespace, and nothing that the cluster only notes down for itself."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.services.kubernetes_delivery import delivered, refused
from tests.services.kubernetes_server import KubernetesServer
from tests.sources.runs import Runs

FOLDER = "/kubernetes/prod/manifests"
NAMESPACE = "kubernetes://prod"


@pytest.fixture(autouse=True)
def shop(cluster: KubernetesServer) -> Mapping[str, Any]:
    """A deployment, a secret, settings of five kinds and an event."""
    cluster.add(
        "v1", "secrets", "password", {"type": "Opaque", "data": {"word": base64.b64encode(b"\0geheim").decode()}}
    )
    for number in range(5):
        cluster.add("v1", "configmaps", f"settings-{number}", {"data": {"text": f"grün\nline {number}\n", "no": "no"}})
    cluster.add("v1", "events", "shop.1", {"reason": "Pulled"})
    cluster.add("v1", "configmaps", "elsewhere", {"data": {}}, namespace="dev")
    spec = {"replicas": 3, "template": {"spec": {"containers": [{"name": "main", "image": "shop:1"}]}}}
    return cluster.add("apps/v1", "deployments", "shop", {"spec": spec, "status": {"readyReplicas": 3}})


def test_every_object_can_be_applied_again(cluster: KubernetesServer) -> None:
    """`kubectl apply -f` refuses objects with a resource version, and would carry the old cluster's notes over."""
    contents = delivered(cluster, "prod", method="exec").contents
    listed = {path.removeprefix(FOLDER + "/") for path in contents if path.startswith(FOLDER) and path[-1] != "/"}
    settings = {f"configmaps/settings-{number}.yaml" for number in range(5)}
    assert listed == settings | {
        "deployments.apps/shop.yaml", "secrets/password.yaml", "pods/shop-0.yaml", "namespaces/prod.yaml",
        "persistentvolumeclaims/data.yaml",
    }  # fmt: skip
    assert yaml.safe_load(contents[f"{FOLDER}/deployments.apps/shop.yaml"]) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "shop", "namespace": "prod"},
        "spec": {"replicas": 3, "template": {"spec": {"containers": [{"name": "main", "image": "shop:1"}]}}},
    }
    secret = yaml.safe_load(contents[f"{FOLDER}/secrets/password.yaml"])
    assert base64.b64decode(secret["data"]["word"]) == b"\0geheim"
    text = yaml.safe_load(contents[f"{FOLDER}/configmaps/settings-3.yaml"])["data"]
    assert text == {"text": "grün\nline 3\n", "no": "no"}


def test_nothing_new_where_nobody_changed_anything(cluster: KubernetesServer, runs: Runs, shop: dict[str, Any]) -> None:
    """A cluster writes into its objects all day long; a backup an hour must not store that."""
    runs.backup(NAMESPACE)
    shop["status"]["readyReplicas"] = 2
    shop["metadata"]["resourceVersion"] = "999"
    again = runs.backup(NAMESPACE)
    assert (again["data_blobs"], again["tree_blobs"]) == (0, 0)
    shop["spec"]["replicas"] = 5
    assert runs.backup(NAMESPACE)["data_blobs"] == 1


def test_json_for_those_who_prefer_it(cluster: KubernetesServer) -> None:
    """Programs read it more easily."""
    contents = delivered(cluster, "prod", method="exec", manifests="json").contents
    assert json.loads(contents[f"{FOLDER}/deployments.apps/shop.json"])["spec"]["replicas"] == 3
    contents = delivered(cluster, "prod", method="exec", manifests="none").contents
    assert not [path for path in contents if path.startswith(FOLDER)]


def test_what_may_not_be_listed_is_told(cluster: KubernetesServer) -> None:
    """A role without secrets makes a backup without secrets: not without a word, and not an exit code of 0."""
    cluster.forbidden.add(("GET", "secrets"))
    found = delivered(cluster, "prod", method="exec")
    assert found.error_count == 1
    assert "secrets of namespace prod" in found.said[0]
    assert "403" in found.said[0]
    assert f"{FOLDER}/deployments.apps/shop.yaml" in found.contents
    found = delivered(cluster, "prod", method="exec", without_resources="secrets,events")
    assert (found.error_count, found.said) == (0, [])


def test_nothing_may_be_listed(cluster: KubernetesServer) -> None:
    """An empty folder is no backup of a namespace."""
    kinds = ("pods", "persistentvolumeclaims", "configmaps", "secrets", "deployments", "volumesnapshots")
    cluster.forbidden.update(("GET", kind) for kind in kinds)
    assert "403" in refused(cluster, "prod")


def test_a_cluster_does_not_choose_where_its_files_go(cluster: KubernetesServer) -> None:
    """A name with a slash would be a way out of the folder."""
    cluster.add("v1", "configmaps", "../../../etc/passwd", {"data": {}})
    assert "names one of its configmaps '../../../etc/passwd'" in refused(cluster, "prod")
