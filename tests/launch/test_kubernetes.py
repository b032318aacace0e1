"""kubernetes.yaml against Kubernetes' and Kubeflow's own schemas."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.launch.conftest import HARDWARE, Render

SCHEMAS = {
    kind: json.loads((Path(__file__).parent / "schemas" / file).read_text())
    for kind, file in {"TrainJob": "train_job.json", "TrainingRuntime": "training_runtime.json"}.items()
}
BASE = {"image": "registry.example.com/run:1", "volume_claim": "run"}
FULL = BASE | {
    "storage": "500Gi",
    "storage_class": "shared",
    "namespace": "training",
    "cpus": 64,
    "memory": "512Gi",
    "shared_memory": "16Gi",
    "node_selector": {"topology.kubernetes.io/zone": "a", "rack": 5},
    "image_pull_secret": "registry",
}
HOSTILE = 'it\'s $(HOME) $$ "x" `y` ${z} {a: b} # - \\ : \u2028 \U0001f600'


def check(text: str) -> dict[str, Any]:
    """Validate all documents of a file; they are returned by kind."""
    documents = list(yaml.safe_load_all(text))
    for document in documents:
        if document["kind"] in SCHEMAS:
            jsonschema.validate(document, SCHEMAS[document["kind"]])
        else:
            kubernetes_validate.validate(document, "1.34", strict=True)
    found = {document["kind"]: document for document in documents}
    assert len(found) == len(documents)
    if "TrainingRuntime" in found:  # the jobs that it makes are jobs as Kubernetes knows them
        for replicated in found["TrainingRuntime"]["spec"]["template"]["spec"]["replicatedJobs"]:
            job = {"apiVersion": "batch/v1", "kind": "Job", **replicated["template"]}
            kubernetes_validate.validate(job, "1.34", strict=True)
    return found


def pod_of(found: dict[str, Any]) -> dict[str, Any]:
    if "Job" in found:
        return found["Job"]["spec"]["template"]["spec"]
    return found["TrainingRuntime"]["spec"]["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]


@pytest.mark.parametrize("workload", ["job", "train_job"])
@pytest.mark.parametrize("settings", [BASE, FULL], ids=["base", "full"])
@pytest.mark.parametrize("hardware", HARDWARE)
def test_files_are_valid(render: Render, hardware: str, settings: dict[str, Any], workload: str) -> None:
    project = render(hardware, {"kubernetes": settings | {"workload": workload}})
    found = check(project["launch/kubernetes.yaml"].text)
    pod = pod_of(found)
    (container,) = pod["containers"]
    gpu = {"h100-sxm": "nvidia.com/gpu", "mi300x": "amd.com/gpu"}.get(HARDWARE[hardware]["accelerator"])
    devices = HARDWARE[hardware].get("accelerators_per_node", 1)
    limits = container.get("resources", {}).get("limits", {})
    assert {name: count for name, count in limits.items() if "gpu" in name} == ({gpu: devices} if gpu else {})
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/workspace/data", "/workspace/run", "/dev/shm"}
    assert container["command"][-2:] == ["train.py", "--resume"]
    data = check(project["launch/kubernetes_data.yaml"].text)
    assert ("PersistentVolumeClaim" in data) == ("storage" in settings)
    if "storage" in settings:
        claim = data["PersistentVolumeClaim"]
        assert claim["spec"]["accessModes"] == (["ReadWriteMany"] if "nodes" in HARDWARE[hardware] else ["ReadWriteOnce"])
        assert {document["metadata"]["namespace"] for document in [*found.values(), *data.values()]} == {"training"}


def test_pods_of_a_job_find_each_other(render: Render) -> None:
    found = check(render("nodes", {"kubernetes": BASE}, name="My.Run_1")["launch/kubernetes.yaml"].text)
    job, service = found["Job"], found["Service"]
    pod = job["spec"]["template"]["spec"]
    name = job["metadata"]["name"]
    assert name == "my-run-1"
    assert service["metadata"]["name"] == pod["subdomain"] == name
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": name}
    # The first pod of an indexed job has the host name NAME-0, under the service's name.
    assert f"--rdzv-endpoint={name}-0.{name}:29500" in pod["containers"][0]["command"]
    assert "--nnodes=4" in pod["containers"][0]["command"]
    assert (job["spec"]["completionMode"], job["spec"]["completions"], job["spec"]["parallelism"]) == ("Indexed", 4, 4)


def test_what_counts_as_a_failure(render: Render) -> None:
    rules = check(render("device", {"kubernetes": BASE})["launch/kubernetes.yaml"].text)["Job"]["spec"]["podFailurePolicy"]["rules"]
    assert rules == [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [138, 143]}},
    ]
    runtime = check(render("nodes", {"kubernetes": BASE | {"workload": "train_job"}})["launch/kubernetes.yaml"].text)["TrainingRuntime"]
    spec = runtime["spec"]["template"]["spec"]
    assert spec["failurePolicy"]["rules"][0]["onJobFailureReasons"] == ["PodFailurePolicy"]
    assert spec["replicatedJobs"][0]["template"]["spec"]["podFailurePolicy"]["rules"][0]["action"] == "FailJob"


def test_a_pod_has_the_time_to_save(render: Render) -> None:
    pod = pod_of(check(render("node", {"kubernetes": BASE, "grace_period": "5m"})["launch/kubernetes.yaml"].text))
    environment = {variable["name"]: variable["value"] for variable in pod["containers"][0]["env"]}
    assert environment["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] == "300"
    assert pod["terminationGracePeriodSeconds"] > 300


@pytest.mark.parametrize("workload", ["job", "train_job"])
def test_texts_stay_texts(render: Render, workload: str) -> None:
    settings = BASE | {"image": HOSTILE, "workload": workload, "node_selector": {HOSTILE: HOSTILE}}
    text = render("node", {"kubernetes": settings, "environment": {"A": HOSTILE}})["launch/kubernetes.yaml"].text
    (*_, last) = yaml.safe_load_all(text)
    pod = pod_of({document["kind"]: document for document in yaml.safe_load_all(text)})
    assert last["kind"] in ("Job", "TrainJob")
    assert pod["containers"][0]["image"] == HOSTILE
    assert pod["nodeSelector"] == {HOSTILE: HOSTILE}
    assert pod["containers"][0]["env"][0] == {"name": "A", "value": HOSTILE.replace("$", "$$")}


def test_the_checks_can_fail(render: Render) -> None:
    for workload in ("job", "train_job"):
        text = render("nodes", {"kubernetes": BASE | {"workload": workload}})["launch/kubernetes.yaml"].text
        for right, wrong in (("workingDir:", "workingDirectory:"), ("- name: node", "- name: 5"), ("    rules:", "    rule:")):
            assert right in text
            with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
                check(text.replace(right, wrong))
