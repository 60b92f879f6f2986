"""Everything below infra/ that can't be run here, held against the schemas of those who run it.

Kubernetes' own schemas come with kubernetes-validate, the Compose specification's with
check-jsonschema, and the work pool's template goes through the code of Prefect's Kubernetes worker.
KubeRay's schema is in no package: of a RayCluster the pod templates are validated, and the whole of
it where EAST_RAYCLUSTER_CRD names KubeRay's ray.io_rayclusters.yaml.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parents[2]
K8S, DOCKER = ROOT / "infra" / "k8s", ROOT / "infra" / "docker"
BIN = Path(sys.executable).parent
# The oldest version that is still maintained, and the newest.
VERSIONS = ("1.33", "1.37")
SECRET = re.compile(r"(PASSWORD|SECRET_ACCESS_KEY|ACCESS_KEY_ID|TOKEN|AUTH_STRING|CONNECTION_URL)$")


def documents() -> list[dict[str, Any]]:
    files = sorted(K8S.glob("*.yaml"))
    return [document for path in files for document in yaml.safe_load_all(path.read_text())]


def native() -> list[dict[str, Any]]:
    """The kinds that Kubernetes itself knows."""
    return [found for found in documents() if "ray.io" not in found["apiVersion"]]


def ray_cluster() -> dict[str, Any]:
    return yaml.safe_load((K8S / "raycluster.yaml").read_text())


def ray_templates(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    """The pod templates of a RayCluster, each as an object that Kubernetes knows."""
    groups = [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]
    return [
        {"apiVersion": "v1", "kind": "PodTemplate", "template": group["template"]}
        for group in groups
    ]


def base_job_template() -> dict[str, Any]:
    return json.loads((K8S / "work-pool.json").read_text())


def job(**values: Any) -> dict[str, Any]:
    """The Job that Prefect's Kubernetes worker makes of the template for a run."""
    from prefect.client.schemas.objects import FlowRun
    from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration as Configuration

    no_server: Any = object()  # it would be asked for blocks, of which the template has none
    making = Configuration.from_template_and_values(base_job_template(), values, client=no_server)
    configuration = asyncio.run(making)
    run = FlowRun.model_construct(id="5ba02d8e", name="llama-gsm8k")
    configuration.prepare_for_flow_run(run)
    return configuration.job_manifest


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every pod that the manifests can bring up, with a name for messages."""
    for document in native():
        template = document.get("spec", {}).get("template")
        if template:
            yield document["metadata"]["name"], template["spec"]
    for number, wrapped in enumerate(ray_templates(ray_cluster())):
        yield f"raycluster[{number}]", wrapped["template"]["spec"]
    yield "work pool", job()["spec"]["template"]["spec"]


def compose() -> dict[str, Any]:
    return yaml.safe_load((DOCKER / "docker-compose.yml").read_text())


def check(tool: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / tool), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "document", native(), ids=lambda found: f"{found['kind']}/{found['metadata']['name']}"
)
def test_manifests_fit_kubernetes_schemas(document: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_ray_pods_fit_kubernetes_schemas(version: str) -> None:
    for template in ray_templates(ray_cluster()):
        kubernetes_validate.validate(template, version, strict=True)


@pytest.mark.skipif("EAST_RAYCLUSTER_CRD" not in os.environ, reason="needs KubeRay's CRD")
def test_the_ray_cluster_fits_kuberays_own_schema() -> None:
    crd = yaml.safe_load(Path(os.environ["EAST_RAYCLUSTER_CRD"]).read_text())
    [served] = [found for found in crd["spec"]["versions"] if found["name"] == "v1"]
    schema = served["schema"]["openAPIV3Schema"]
    jsonschema.validate(ray_cluster()["spec"], schema["properties"]["spec"])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"gpus": 1, "node_selector": {"nvidia.com/gpu.product": "NVIDIA-L4"}},
        {"gpus": 0, "image": "registry.example.org/east:cpu-0.1.0", "tolerations": []},
        {"env": {"PREFECT_API_URL": "http://east-server:4200/api"}, "labels": {"team": "nlp"}},
    ],
    ids=str,
)
def test_the_work_pools_jobs_fit_kubernetes_schemas(values: dict[str, Any], version: str) -> None:
    made = job(**values)
    kubernetes_validate.validate(made, version, strict=False)  # Prefect's own fields are more
    limits = made["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == values.get("gpus", 8)


def test_the_work_pools_variables_are_a_json_schema_that_its_defaults_fit() -> None:
    variables = base_job_template()["variables"]
    jsonschema.Draft202012Validator.check_schema(variables)
    defaults = {
        name: field["default"]
        for name, field in variables["properties"].items()
        if "default" in field
    }
    jsonschema.validate(defaults, variables)
    placed = set(re.findall(r"{{ (\w+) }}", json.dumps(base_job_template()["job_configuration"])))
    assert placed == set(variables["properties"])


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Deployment", ("spec", "replicas"), "two"),
        ("Deployment", ("spec", "template", "spec", "container"), []),
        ("Job", ("spec", "completionMode"), 3),
        ("Service", ("spec", "ports"), "4200"),
    ],
)
def test_what_kubernetes_would_refuse_is_refused_here(
    kind: str, path: tuple[str, ...], value: object
) -> None:
    document = next(found for found in native() if found["kind"] == kind)
    place = document
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, VERSIONS[-1], strict=True)


@pytest.mark.parametrize(("name", "pod"), pods(), ids=lambda value: str(value)[:20])
def test_pods_are_small_targets(name: str, pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"]
    for container in pod["containers"]:
        assert re.fullmatch(r"\S+:(?!latest)\S+", container["image"]), "pinned by tag"
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
        assert container["resources"]["limits"]["memory"]
        for variable in container.get("env", []):
            if SECRET.search(variable["name"]):
                assert "secretKeyRef" in variable["valueFrom"], (name, variable["name"])


@pytest.mark.parametrize(("name", "pod"), pods(), ids=lambda value: str(value)[:20])
def test_pods_with_gpus_have_shared_memory(name: str, pod: dict[str, Any]) -> None:
    for container in pod["containers"]:
        if not container["resources"]["limits"].get("nvidia.com/gpu"):
            continue
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        [volume] = [found for found in pod["volumes"] if found["name"] == mounts["/dev/shm"]]
        assert volume["emptyDir"]["medium"] == "Memory", name


def test_the_pods_of_a_multi_node_run_meet_at_one_that_exists() -> None:
    documents = yaml.safe_load_all((K8S / "multi-node-run.yaml").read_text())
    service, run = sorted(documents, key=lambda found: found["kind"], reverse=True)
    pod = run["spec"]["template"]["spec"]
    head = f"{run['metadata']['name']}-0.{service['metadata']['name']}"
    assert f"--address={head}:{service['spec']['ports'][0]['port']}" in str(pod["containers"])
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": run["metadata"]["name"]}
    assert run["spec"]["parallelism"] == run["spec"]["completions"]


def test_a_driver_shares_rays_session_and_memory_with_the_head_beside_it() -> None:
    head, worker = ray_cluster()["spec"]["headGroupSpec"]["template"]["spec"]["containers"]
    needed = {"/dev/shm", "/tmp/ray"}
    assert needed <= {mount["mountPath"] for mount in head["volumeMounts"]}
    assert needed <= {mount["mountPath"] for mount in worker["volumeMounts"]}


def test_the_image_has_the_clusters_ray() -> None:
    pinned = (ROOT / "requirements" / "gpu.txt").read_text().splitlines()
    assert f"ray=={ray_cluster()['spec']['rayVersion']}" in pinned
    assert re.search(r'^ARG EXTRAS="[^"]*\bray\b', (DOCKER / "gpu.Dockerfile").read_text(), re.M)


def test_compose_files_fit_the_compose_specification(tmp_path: Path) -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")
    done = check("check-jsonschema", *schema, *sorted(DOCKER.glob("docker-compose*.yml")))
    assert done.returncode == 0, done.stdout
    broken = tmp_path / "compose.yml"
    broken.write_text("services: {s3: {imagee: x}}\n")
    assert check("check-jsonschema", *schema, broken).returncode == 1


def test_compose_publishes_on_loopback_alone() -> None:
    ports = [
        port for service in compose()["services"].values() for port in service.get("ports", [])
    ]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_compose_services_tell_how_they_are_and_take_secrets_from_the_environment() -> None:
    for name, service in compose()["services"].items():
        assert "healthcheck" in service or service["restart"] == "no", name
        for variable, value in service["environment"].items():
            if SECRET.search(variable):
                assert value.startswith("${"), (name, variable)


def test_the_example_of_the_secrets_names_those_that_compose_asks_for_and_holds_none() -> None:
    lines = (DOCKER / "secrets.env.example").read_text().splitlines()
    given = dict(line.split("=") for line in lines if not line.startswith("#"))
    asked = set(re.findall(r"\$\{(\w+):\?", (DOCKER / "docker-compose.yml").read_text()))
    assert asked <= set(given)
    assert not any(given.values())
    ignored = subprocess.run(
        ["git", "check-ignore", "-q", "infra/docker/secrets.env"], cwd=ROOT, check=False
    )
    assert ignored.returncode in (0, 128)  # 128: not a git checkout


def test_the_commands_of_the_manifests_exist() -> None:
    from flows.commands.ui import deploy
    from flows.server.application import create_app
    from flows.server.setup import POOL

    server, setup, worker = (compose()["services"][n] for n in ("server", "deployments", "worker"))
    assert f"{create_app.__module__}:{create_app.__name__}" in server["command"]
    assert setup["command"][:2] == ["east", deploy.__name__]
    assert (ROOT / setup["command"][-1]).is_file()
    assert f"--pool, {POOL}" in ", ".join(worker["command"])
    assert (ROOT / "east_core" / "engines" / "trl" / "rank.py").is_file()


def test_prefects_settings_in_the_manifests_are_known_to_prefect() -> None:
    from prefect.settings import Settings
    from prefect.settings.legacy import _get_settings_fields
    from prefect_kubernetes.settings import KubernetesSettings

    files = (*K8S.iterdir(), *DOCKER.iterdir(), *(ROOT / "infra" / "slurm").iterdir())
    text = "".join(path.read_text() for path in files if path.is_file())
    named = set(re.findall(r"(?<![${])\bPREFECT_[A-Z_]+", text)) - {"PREFECT_AUTH_STRING"}
    assert "PREFECT_SERVER_DATABASE_PASSWORD" in named
    assert named <= {*_get_settings_fields(Settings), *_get_settings_fields(KubernetesSettings)}


@pytest.mark.parametrize(("image", "pins"), [("cpu", "cpu"), ("gpu", "gpu"), ("server", "flows")])
def test_dockerfiles_pass_hadolint_and_leave_root(image: str, pins: str) -> None:
    path = DOCKER / f"{image}.Dockerfile"
    done = check("hadolint", path)
    assert done.returncode == 0, done.stdout
    lines = path.read_text().splitlines()
    assert [line for line in lines if line.startswith("USER ")][-1] == "USER 10001"
    assert f"requirements/{pins}.txt" in path.read_text()


def test_hadolint_would_find_something(tmp_path: Path) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text("FROM python\nRUN cd /tmp\n")
    done = check("hadolint", path)
    assert done.returncode == 1
    assert "DL3006" in done.stdout


def test_the_gpu_requirements_hold_cudas_torch() -> None:
    pinned = (ROOT / "requirements" / "gpu.txt").read_text()
    assert re.search(r"^nvidia-nccl-cu\d+==", pinned, re.MULTILINE)


def test_shell_scripts_pass_shellcheck() -> None:
    scripts = sorted((ROOT / "infra" / "slurm").glob("*.sbatch"))
    scripts += [ROOT / ".ci" / "run", ROOT / "requirements" / "resolve"]
    done = check("shellcheck", *scripts)
    assert done.returncode == 0, done.stdout


def test_what_an_image_is_built_from_is_there() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    kept = [line.removeprefix("!") for line in lines if line.startswith("!")]
    assert kept
    assert [path for path in kept if not (ROOT / path).exists()] == []
