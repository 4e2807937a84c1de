"""Which cluster, and who we are there: kubeconfigs as kubectl reads them, TLS, tokens that change."""

from __future__ import annotations

import base64
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from limpet.errors import SourceError, UsageError
from limpet_source_kubernetes import kubeconfig as kubeconfigs
from limpet_source_kubernetes.api import Cluster
from limpet_source_kubernetes.kubeconfig import load_access

from tests.services.kubernetes_delivery import delivered, refused
from tests.services.kubernetes_server import KubernetesServer

PATH = "/kubernetes/prod/volumes/data/a"
Write = Callable[[dict[str, Any]], str]


@pytest.fixture(autouse=True)
def content(cluster: KubernetesServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file to read, and nothing in the environment that would lead elsewhere."""
    (cluster.claim_folder("prod", "data") / "a").write_text("there")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", "/nonexistent")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a kubeconfig; its path."""

    def do(document: dict[str, Any]) -> str:
        path = tmp_path / "config"
        path.write_text(yaml.safe_dump(document))
        return str(path)

    return do


def reads(cluster: KubernetesServer, config: str | None, **options: str) -> bool:
    """Whether commands and requests work with it."""
    return delivered(cluster, "prod/data", kubeconfig=config, method="exec", **options).contents == {PATH: b"there"}


def test_a_context_is_chosen_by_name(cluster: KubernetesServer, write: Write) -> None:
    """Whoever has several clusters must not back up the wrong one."""
    document = cluster.config()
    document["contexts"].append({"name": "other", "context": {"cluster": "other", "user": "tester"}})
    document["clusters"].append({"name": "other", "cluster": {"server": "http://127.0.0.1:1"}})
    document["current-context"] = "other"
    config = write(document)
    assert reads(cluster, config, context="test")
    assert "127.0.0.1:1 does not answer" in refused(cluster, "prod/data", kubeconfig=config)
    assert "no context 'third'" in refused(cluster, "prod/data", kubeconfig=config, context="third")


def test_several_files_are_one(cluster: KubernetesServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$KUBECONFIG is a list; the first file to name something wins."""
    document = cluster.config()
    second = {**document, "clusters": [], "current-context": "nonsense"}
    first = {"clusters": document["clusters"], "current-context": "test"}
    for name, content in (("one", first), ("two", second)):
        (tmp_path / name).write_text(yaml.safe_dump(content))
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/one:{tmp_path}/missing:{tmp_path}/two")
    assert reads(cluster, None)


def test_a_token_in_a_file_is_read_again(cluster: KubernetesServer, write: Write, tmp_path: Path) -> None:
    """Tokens of service accounts last an hour, backups longer."""
    (tmp_path / "token").write_text(cluster.token + "\n")
    access = load_access(write(cluster.config({"tokenFile": "token"})), None)
    api = Cluster(access)
    assert api.get("/api/v1/namespaces/prod")["metadata"]["name"] == "prod"
    cluster.token = "the next one"
    (tmp_path / "token").write_text(cluster.token)
    assert api.get("/api/v1/namespaces/prod")["metadata"]["name"] == "prod"
    api.close()


def test_a_program_gives_the_token_and_gives_it_again(cluster: KubernetesServer, write: Write, tmp_path: Path) -> None:
    """The clouds' clusters are all reached that way; a token that has run out must not end the backup."""
    program = tmp_path / "plugin"
    program.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        "assert json.loads(os.environ['KUBERNETES_EXEC_INFO'])['kind'] == 'ExecCredential'\n"
        f"token = open({str(tmp_path / 'now')!r}).read() + os.environ['TAIL'] + sys.argv[1]\n"
        "print(json.dumps({'kind': 'ExecCredential', 'status': {'token': token}}))\n"
    )
    program.chmod(0o755)
    (tmp_path / "now").write_text("first")
    command = {
        "apiVersion": "client.authentication.k8s.io/v1", "command": str(program), "args": ["-x"],
        "env": [{"name": "TAIL", "value": "-tail"}],
    }  # fmt: skip
    config = write(cluster.config({"exec": command}))
    cluster.token = "first-tail-x"
    assert reads(cluster, config)
    api = Cluster(load_access(config, None))
    api.get("/api/v1/namespaces/prod")
    (tmp_path / "now").write_text("second")
    cluster.token = "second-tail-x"
    assert api.get("/api/v1/namespaces/prod")["metadata"]["name"] == "prod"
    api.close()
    (tmp_path / "now").unlink()
    said = refused(cluster, "prod/data", kubeconfig=config)
    assert "credential plugin" in said
    assert "No such file" in said


def test_a_pod_of_the_cluster_needs_no_kubeconfig(
    cluster: KubernetesServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CronJob in the cluster is the usual place for backups."""
    (tmp_path / "token").write_text(cluster.token)
    (tmp_path / "ca.crt").write_text("PEM")
    monkeypatch.setattr(kubeconfigs, "SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    access = load_access(None, None)
    assert (access.server, access.authorities, access.identity.bearer()) == (
        "https://[fd00::1]:6443",
        "PEM",
        cluster.token,
    )


def test_tls_with_certificates_on_both_sides(
    cluster: KubernetesServer, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key in a kubeconfig must work, and must not be left in a temporary file."""
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    for name in ("server", "client"):
        names = ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:kubernetes,IP:127.0.0.2"]
        files = ["-keyout", str(tmp_path / f"{name}.key"), "-out", str(tmp_path / f"{name}.crt")]
        subprocess.run([*make, *names, *files], check=True, capture_output=True)
    cluster.speak_tls(tmp_path / "server.crt", tmp_path / "server.key", tmp_path / "client.crt")

    def data(name: str) -> str:
        return base64.b64encode((tmp_path / name).read_bytes()).decode()

    user = {
        "token": cluster.token,
        "client-certificate-data": data("client.crt"),
        "client-key-data": data("client.key"),
    }
    document = cluster.config(user)
    document["clusters"][0]["cluster"] |= {
        "server": cluster.url.replace("http:", "https:"), "certificate-authority-data": data("server.crt"),
        "tls-server-name": "kubernetes",
    }  # fmt: skip
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    assert reads(cluster, write(document))
    assert list(temporary.iterdir()) == []
    del document["clusters"][0]["cluster"]["tls-server-name"]
    assert "does not answer" in refused(cluster, "prod/data", kubeconfig=write(document)), "127.0.0.1 is not in it"
    document["clusters"][0]["cluster"] |= {"insecure-skip-tls-verify": True}
    assert reads(cluster, write(document))
    document["users"][0]["user"] = {"token": cluster.token}
    refused(cluster, "prod/data", kubeconfig=write(document))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [", "is no YAML (line"),
        ("just words", "holds no mapping"),
        ('{"clusters": []}', "no current context"),
        ('{"contexts": [{"name": "a", "context": {"cluster": "b"}}], "current-context": "a"}', "names the cluster"),
    ],
)
def test_a_kubeconfig_that_is_none(tmp_path: Path, text: str, reason: str) -> None:
    """One line that names the file, without what is in it: that may be secret."""
    (tmp_path / "config").write_text(text)
    with pytest.raises(UsageError) as caught:
        load_access(str(tmp_path / "config"), None)
    assert reason in str(caught.value)


def test_no_kubeconfig_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first thing that everybody meets."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(UsageError, match=r"give one with -o kubernetes.kubeconfig=FILE or \$KUBECONFIG"):
        load_access(None, None)


def test_secrets_are_in_no_repr(cluster: KubernetesServer) -> None:
    """Tracebacks and debug logs show these."""
    access = load_access(str(cluster.kubeconfig), None)
    assert cluster.token not in repr(access) + repr(access.identity)
    with pytest.raises(SourceError) as caught:
        Cluster(access).get("/api/v1/namespaces/none")
    assert cluster.token not in str(caught.value)
