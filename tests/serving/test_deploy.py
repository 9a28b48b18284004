"""The deployment files are valid for the tools that read them, and say what the server says."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from serving.server.config import ServeConfig, check_exposure, is_loopback, serve_config

DEPLOY = Path(__file__).parents[2] / "deploy"
UNIT = DEPLOY / "systemd" / "mlplatform-serving.service"
MANIFESTS = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "serving.yaml").read_text("utf-8")))
PLACES = {"root": "/", "data_dir": "d", "store": "s", "warehouse": "w", "catalog": "sqlite://"}


def of_kind(kind: str) -> dict[str, Any]:
    return next(document for document in MANIFESTS if document["kind"] == kind)


@pytest.mark.parametrize("document", MANIFESTS, ids=[document["kind"] for document in MANIFESTS])
@pytest.mark.parametrize("version", ["1.30", "1.33", kubernetes_validate.latest_version()])
def test_manifests_are_valid(document: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


def test_labels_select_the_pods() -> None:
    deployment = of_kind("Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert of_kind("Service")["spec"]["selector"].items() <= labels.items()
    for kind, key in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
        assert of_kind(kind)["spec"][key]["matchLabels"].items() <= labels.items()


def test_ports_volumes_and_probes_name_what_exists() -> None:
    pod = of_kind("Deployment")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    config = cluster_config()
    assert ports == {"data": config.port, "metrics": config.control_port}
    assert of_kind("Service")["spec"]["ports"][0]["targetPort"] in ports
    probes = {name: container[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert {probe["path"] for probe in probes.values()} == {"/readyz", "/healthz"}
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert config.store in mounts
    assert any(config.data_dir.is_relative_to(mount) for mount in mounts if mount != "/packs")


def test_metrics_can_be_scraped_by_chosen_pods_and_nothing_else_reaches_them() -> None:
    scraped = of_kind("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert scraped["prometheus.io/port"] == str(cluster_config().control_port)
    assert not is_loopback(cluster_config().control_host)
    rules = of_kind("NetworkPolicy")["spec"]["ingress"]
    callers = {rule["ports"][0]["port"]: rule["from"][0]["podSelector"]["matchLabels"] for rule in rules}
    assert callers == {
        "data": {"mlplatform.example/may-call": "serving"},
        "metrics": {"mlplatform.example/may-scrape": "serving"},
    }
    assert [port["targetPort"] for port in of_kind("Service")["spec"]["ports"]] == ["data"]


def test_a_host_has_time_to_drain() -> None:
    pod = of_kind("Deployment")["spec"]["template"]["spec"]
    sleeps = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] >= sleeps + cluster_config().drain_s + 2
    assert int(unit()["Service"]["TimeoutStopSec"]) >= cluster_config().drain_s + 2


def test_the_cluster_serves_only_with_tokens() -> None:
    config = cluster_config()
    check_exposure(config, has_tokens=True)
    with pytest.raises(Exception, match="E_SERVE_EXPOSED"):
        check_exposure(config, has_tokens=False)


def test_the_unit_says_how_to_start_and_reload() -> None:
    service = unit()["Service"]
    assert service["ExecStart"].endswith("/mlp serve start")
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    state = "/var/lib/" + service["StateDirectory"]
    assert service["Environment"] == f"MLP_SERVING_DATA_DIR={state}/serving"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_the_unit_is_valid(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    text = UNIT.read_text("utf-8").replace("/opt/mlplatform/bin/mlp", shutil.which("true") or "/bin/true")
    copy.write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False
    )
    about = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert about == []


def test_the_image_copies_what_exists_and_runs_as_no_root() -> None:
    lines = (DEPLOY / "Dockerfile").read_text("utf-8").splitlines()
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY") and "--from" not in line]
    assert all((DEPLOY.parent / name).exists() for names in copied for name in names)
    user = next(line.split()[1] for line in lines if line.startswith("USER"))
    pod = of_kind("Deployment")["spec"]["template"]["spec"]
    assert user == str(pod["securityContext"]["runAsUser"]) != "0"


def cluster_config() -> ServeConfig:
    document = yaml.safe_load(of_kind("ConfigMap")["data"]["mlplatform.yaml"])
    return serve_config(document["serving"], {}, PLACES, {})


def unit() -> configparser.ConfigParser:
    found = configparser.ConfigParser(interpolation=None, strict=False)
    found.optionxform = str  # type: ignore[assignment,method-assign]  # keys are case-sensitive
    found.read_string(UNIT.read_text("utf-8"))
    return found
