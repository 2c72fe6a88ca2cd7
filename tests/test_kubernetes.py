"""What deploy/kubernetes says is valid, and true of the service."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from flask import Flask

from service.settings import Settings
from service.version import VERSION
from tests.support.paths import ROOT

FOLDER = ROOT / "deploy/kubernetes"
PAGE = (ROOT / "docs/operate.md").read_text()
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
OLDEST_SUPPORTED = re.search(r"Kubernetes (1\.\d+) or later", (FOLDER / "kustomization.yaml").read_text())[1]  # type: ignore[index]
NAME, COMPONENT = "app.kubernetes.io/name", "app.kubernetes.io/component"
Manifest = dict[str, Any]


def read(*texts: str) -> list[Manifest]:
    return [manifest for text in texts for manifest in yaml.safe_load_all(text)]


MANIFESTS = read(*((FOLDER / name).read_text() for name in KUSTOMIZATION["resources"]))
BY_NAME = {(each["kind"], each["metadata"]["name"]): each for each in MANIFESTS}
WORKLOADS = [each for each in MANIFESTS if each["kind"] in ("Deployment", "Job")]
WEB, PROCESSOR = (BY_NAME["Deployment", f"historical-sync-{name}"] for name in ("web", "processor"))
MIGRATE = BY_NAME["Job", "historical-sync-migrate"]

each_manifest = pytest.mark.parametrize(
    "manifest", MANIFESTS, ids=lambda each: f"{each['kind']}-{each['metadata']['name']}"
)
each_workload = pytest.mark.parametrize("workload", WORKLOADS, ids=lambda each: each["metadata"]["name"])


def pod_of(workload: Manifest) -> Manifest:
    pod: Manifest = workload["spec"]["template"]["spec"]
    return pod


def container_of(workload: Manifest) -> Manifest:
    [container] = pod_of(workload)["containers"]
    return dict(container)


def values_in(node: object, key: str) -> Iterator[Any]:
    """Everything that stands under a key, however deep."""
    if isinstance(node, dict):
        yield from (value for name, value in node.items() if name == key)
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from values_in(value, key)


@pytest.mark.parametrize("version", [OLDEST_SUPPORTED, kubernetes_validate.latest_version()])
@each_manifest
def test_each_manifest_is_what_kubernetes_knows(manifest: Manifest, version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_every_file_is_listed() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {"kustomization.yaml", *KUSTOMIZATION["resources"]}


@each_workload
def test_the_image_is_of_this_version(workload: Manifest) -> None:
    [image] = KUSTOMIZATION["images"]
    assert image == {"name": container_of(workload)["image"], "newTag": VERSION}
    assert set(re.findall(r"/historical-sync:(\S+)", PAGE)) == {VERSION}


@each_workload
def test_it_has_no_more_rights_than_it_needs(workload: Manifest) -> None:
    [user] = re.findall(r"^USER (\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    pod, container = pod_of(workload), container_of(workload)
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": int(user),
        "runAsGroup": int(user),
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp"]
    assert container["resources"].keys() == {"requests", "limits"}


@each_workload
def test_each_variable_is_a_setting_and_a_reference_to_a_secret_of_its_own(workload: Manifest) -> None:
    secret = workload["metadata"]["name"].replace("migrate", "owner")
    for variable in container_of(workload)["env"]:
        if variable["name"] == "APP_ENV":
            assert variable["value"] == "production"
            continue
        assert variable["name"].lower() in Settings.model_fields
        assert variable.keys() == {"name", "valueFrom"}
        reference = variable["valueFrom"]["secretKeyRef"]
        assert (reference["name"], reference["key"]) == (secret, variable["name"])
        assert f"`{secret}`" in PAGE


def test_nothing_that_is_secret_has_a_value_here() -> None:
    assert "Secret" not in {manifest["kind"] for manifest in MANIFESTS}
    assert list(values_in(MANIFESTS, "value")) == ["production"]
    assert list(values_in(KUSTOMIZATION, "literals")) == [["APP_ENV=production"]]


def test_the_settings_are_those_of_the_web_service_and_the_processor() -> None:
    for workload in (WEB, PROCESSOR):
        assert container_of(workload)["envFrom"] == [{"configMapRef": {"name": "historical-sync-settings"}}]
    # It is applied by its label, before the rest is there.
    assert "envFrom" not in container_of(MIGRATE)


@each_manifest
def test_what_selects_pods_finds_those_of_its_component(manifest: Manifest) -> None:
    labels = manifest["metadata"]["labels"]
    assert labels.keys() == {NAME, COMPONENT}
    for template in values_in(manifest, "template"):
        assert template["metadata"]["labels"] == labels
    for selector in [*values_in(manifest, "selector"), *values_in(manifest, "labelSelector")]:
        assert selector.get("matchLabels", selector) == labels


def test_each_probe_and_scrape_asks_a_route_on_the_port_that_is_served(app: Flask) -> None:
    served = container_of(WEB)
    [port] = served["ports"]
    assert port["containerPort"] == Settings.model_fields["port"].default
    routes = {rule.rule for rule in app.url_map.iter_rules()}
    probes = {name: served[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    for probe in probes.values():
        assert probe["port"] == port["name"]
        assert probe["path"] in routes
    scrape = WEB["spec"]["template"]["metadata"]["annotations"]
    assert scrape["prometheus.io/port"] == str(port["containerPort"])
    assert scrape["prometheus.io/path"] in routes
    [of_service] = BY_NAME["Service", "historical-sync"]["spec"]["ports"]
    assert of_service["targetPort"] == port["name"]


def test_an_outage_of_the_database_takes_no_pod_out_and_a_new_one_has_reached_it_once() -> None:
    served = container_of(WEB)
    assert served["startupProbe"]["httpGet"]["path"] == "/readyz"
    assert {served[name]["httpGet"]["path"] for name in ("readinessProbe", "livenessProbe")} == {"/healthz"}


def test_an_update_leaves_each_pod_the_time_that_it_needs() -> None:
    [graceful] = re.findall(r"^graceful_timeout = (\d+)$", (ROOT / "gunicorn.conf.py").read_text(), re.MULTILINE)
    pause = container_of(WEB)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pause > 0
    assert pod_of(WEB)["terminationGracePeriodSeconds"] > pause + int(graceful)
    assert pod_of(PROCESSOR)["terminationGracePeriodSeconds"] > 10, "in which a processor stops"
    for workload in (WEB, PROCESSOR):
        assert workload["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_a_migration_that_fails_says_why_once() -> None:
    assert MIGRATE["spec"]["backoffLimit"] == 0
    assert pod_of(MIGRATE)["restartPolicy"] == "Never", (
        "a container that is started again hides what the first has said"
    )


def test_while_a_node_is_emptied_a_web_pod_is_left() -> None:
    budget = BY_NAME["PodDisruptionBudget", "historical-sync-web"]
    assert WEB["spec"]["replicas"] > budget["spec"]["maxUnavailable"]


def test_the_ingress_passes_what_is_public_and_nothing_else(make_app: Callable[..., Flask]) -> None:
    [rule] = BY_NAME["Ingress", "historical-sync"]["spec"]["rules"]
    backends = [path["backend"] for path in rule["http"]["paths"]]
    assert backends == [{"service": {"name": "historical-sync", "port": {"name": "http"}}}] * len(backends)

    routes = {each.rule for each in make_app(sync_page="on").url_map.iter_rules()}
    passed = {path["path"]: {route for route in routes if _matches(path, route)} for path in rule["http"]["paths"]}
    assert all(passed.values()), "each path is there for a route"
    assert set().union(*passed.values()) == routes - {"/metrics", "/readyz"}


def _matches(path: Manifest, route: str) -> bool:
    if path["pathType"] == "Exact":
        return bool(route == path["path"])
    return f"{route}/".startswith(f"{path['path'].rstrip('/')}/")


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not here to put the parts together")
def test_the_kustomization_shown_makes_it_ones_own(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "historical-sync/deploy/kubernetes")
    [shown] = re.findall(r"```yaml\n(.+?)```", PAGE, re.DOTALL)
    own = tmp_path / "own/kustomization.yaml"
    own.parent.mkdir()
    own.write_text(shown)
    command = ["kubectl", "kustomize", str(own.parent)]
    rendered = read(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    for manifest in rendered:
        kubernetes_validate.validate(manifest, OLDEST_SUPPORTED, strict=True)
        assert manifest["metadata"]["namespace"] == "historical-sync"
    images = {container["image"] for containers in values_in(rendered, "containers") for container in containers}
    assert images == {f"registry.example.com/historical-sync:{VERSION}"}
    [settings] = [each for each in rendered if each["kind"] == "ConfigMap"]
    assert {name.lower() for name in settings["data"]} - {"app_env"} <= Settings.model_fields.keys()
    assert settings["data"]["APP_ENV"] == "production"
    assert [each["name"] for each in values_in(rendered, "configMapRef")] == [settings["metadata"]["name"]] * 2
    assert sorted(values_in(rendered, "replicas")) == [2, 3]
    assert list(values_in(rendered, "host")) == ["sync.example.com"]
