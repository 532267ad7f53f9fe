"""Who may talk to whom: denied by default, allowed where a component's work needs it."""

from __future__ import annotations

import pytest

from helm.generate.chart import PROFILES
from tests.helm.charts import Chart, given, in_profile, with_values
from tests.helm.flows import OUTSIDE, OUTSIDE_V6, Network, pod

DNS = pod("kube-system", **{"k8s-app": "kube-dns"})
STRANGER = pod("elsewhere", app="stranger")
NEIGHBOUR = pod(app="neighbour")
PROMETHEUS = pod("monitoring", app="prometheus")
KUBEFLOW = pod("kubeflow", app="ml-pipeline")
ALL = ("workers.sink.enabled=true", "workers.items.enabled=true", "events.dataset=s3://pagoda/dataset")

KNOWN_PORTS = (80, 5000, 6379, 7070, 7071, 8080, 8081, 8082, 9090, 9091, 9102, 19530)
ALLOWED = {
    ("recall", "tower", 8080),
    ("recall", "redis", 6379),
    ("recall", "milvus", 19530),
    ("rollout", "tower", 8080),
    ("rollout", "recall", 8080),
    ("rollout", "milvus", 19530),
    ("rollout", "mlflow", 5000),
    ("rollout", "redis", 6379),
    ("pipelines", "tower", 8080),
    ("pipelines", "recall", 8080),
    ("pipelines", "milvus", 19530),
    ("pipelines", "mlflow", 5000),
    ("retention", "mlflow", 5000),
    ("retention", "milvus", 19530),
    ("sink", "redis", 6379),
    ("items", "milvus", 19530),
    ("test", "recall", 8080),
}


@pytest.fixture(params=["pipelines.kubeflow.multiUser=true", "pipelines.kubeflow.multiUser=false"])
def network(request: pytest.FixtureRequest) -> Network:
    """Everything on, everything in the cluster; the pipelines' steps in this namespace, or in Kubeflow's."""
    return Network(with_values(*ALL, request.param))


def test_should_isolate_every_pod_in_both_directions(chart: Chart) -> None:
    network = Network(chart)
    for component in network.components():
        directions = {"Ingress"} if component == "milvus" else {"Ingress", "Egress"}
        assert network.isolated(component) == directions, component


def test_should_allow_between_components_what_their_work_needs_and_nothing_else(network: Network) -> None:
    ports = {8080, 6379, 19530, 5000}
    components = network.components()
    flows = {(a, b, port) for a in components for b in components for port in ports if network.allows(a, b, port)}
    assert {flow for flow in flows if flow[0] != "milvus"} == ALLOWED


@pytest.mark.parametrize("port", [7070, 7071, 8081, 8082])
def test_should_never_let_torchserves_other_ports_be_reached(network: Network, port: int) -> None:
    sources = [network[component] for component in network.components()] + [STRANGER, NEIGHBOUR, PROMETHEUS]
    assert not any(network.allows(source, "tower", port) for source in sources)


def test_should_keep_strangers_and_neighbours_from_everything_but_recall(network: Network) -> None:
    for component, port in [("tower", 8080), ("mlflow", 5000), ("redis", 6379), ("milvus", 19530), ("rollout", 8080)]:
        assert not network.allows(STRANGER, component, port), component
        assert not network.allows(NEIGHBOUR, component, port), component
    assert network.allows(STRANGER, "recall", 8080)


def test_should_let_nobody_change_items_who_is_not_named_for_it() -> None:
    catalogue = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}}
    network = Network(given({"networkPolicy": {"itemCallers": [catalogue]}}, *ALL))
    assert network.allows(pod("shop", app="catalogue"), "recall", 8090)
    sources = [network[component] for component in network.components()] + [STRANGER, NEIGHBOUR, PROMETHEUS]
    assert not any(network.allows(source, "recall", 8090) for source in sources)
    assert not Network(with_values(*ALL)).allows(pod("shop", app="catalogue"), "recall", 8090)


def test_should_let_only_the_gateway_ask_for_recall_in_production() -> None:
    network = Network(in_profile("production"))
    assert network.allows(pod("gateway", app="envoy"), "recall", 8080)
    assert not network.allows(STRANGER, "recall", 8080)


def test_should_let_every_component_resolve_names(network: Network) -> None:
    assert all(network.allows(component, DNS, 53) for component in network.components())


SCRAPED = {("recall", 8080), ("rollout", 9090), ("sink", 9090), ("items", 9090), ("tower", 9102)}


def test_should_let_prometheus_scrape_whoever_has_metrics_and_nobody_else_do_so(network: Network) -> None:
    for component, port in SCRAPED:
        assert network.allows(PROMETHEUS, component, port), component
        assert component == "recall" or not network.allows(STRANGER, component, port), component
    reached = {(one, port) for one in network.components() for port in KNOWN_PORTS if port != 5000 or one == "mlflow"}
    assert {flow for flow in reached if network.allows(PROMETHEUS, *flow)} - {("milvus", 9091)} == SCRAPED


def test_should_let_out_only_those_who_use_object_storage_or_the_kubernetes_api(network: Network) -> None:
    out = {component for component in network.components() if network.allows(component, OUTSIDE, 443)}
    assert out - {"milvus"} == {"recall", "tower", "rollout", "mlflow", "pipelines", "retention", "sink", "items"}


EXTERNAL = (
    *("redis.mode=external", "redis.existingSecret=r", "redis.port=6380"),
    *("mlflow.database.existingSecret=d", "mlflow.database.port=5433"),
    *("milvus.mode=external", "milvus.uri=https://milvus.example.com:19531"),
    *("events.kafka.servers=kafka:9092", "tracing.endpoint=http://collector:4318/v1/traces"),
)


@pytest.mark.parametrize("profile", ["defaults", *PROFILES])
def test_should_reach_what_is_outside_by_ipv6_as_by_ipv4(profile: str) -> None:
    chart = with_values(*ALL, *EXTERNAL) if profile == "defaults" else in_profile(profile)
    network, ports = Network(chart), (443, 6443, 9000, 6380, 5433, 19531, 9092, 4318)
    reached = {(one, port) for one in network.components() for port in ports if network.allows(one, OUTSIDE_V6, port)}
    assert reached >= {("rollout", 6443)} | ({("recall", 443)} if profile != "minimal" else set())
    assert reached == {
        (one, port) for one in network.components() for port in ports if network.allows(one, OUTSIDE, port)
    }


def test_should_reach_the_store_that_kubeflow_brings() -> None:
    network = Network(in_profile("minimal"))
    store = pod("kubeflow", app="seaweedfs")
    users = {"recall", "tower", "rollout", "mlflow", "pipelines", "retention"}
    assert {one for one in network.components() - {"milvus"} if network.allows(one, store, 8333)} == users
    assert not network.allows("recall", store, 8111)


def test_should_reach_the_pods_of_a_store_whose_service_has_another_port() -> None:
    # Policies see the pods' port: seaweedfs:9000 is 8333 of its pods.
    sets = ("objectStorage.endpoint=http://seaweedfs.kubeflow:9000", "networkPolicy.external.objectStoragePorts={8333}")
    assert Network(in_profile("minimal", *sets)).allows("recall", pod("kubeflow", app="seaweedfs"), 8333)


def test_should_let_the_setup_job_reach_kubeflow_alone(network: Network) -> None:
    assert network.allows("pipelines-setup", KUBEFLOW, 8888)
    assert not network.allows("pipelines-setup", OUTSIDE, 443)


def test_should_let_knatives_activator_reach_the_tower() -> None:
    network = Network(in_profile("knative"))
    activator = pod("knative-serving", app="activator")
    assert network.allows(activator, "tower", 8012)
    assert network.allows("recall", activator, 8012)
    assert not network.allows(activator, "tower", 8081)


def test_should_leave_the_namespaces_other_pods_alone(chart: Chart) -> None:
    network = Network(chart)
    assert network.allows(NEIGHBOUR, STRANGER, 80)
    assert network.allows(STRANGER, NEIGHBOUR, 80)


def test_should_let_events_out_only_to_where_kafka_listens(network: Network) -> None:
    brokers = pod("kafka", app="broker")
    assert not any(network.allows(component, brokers, 9093) for component in network.components() - {"milvus"})
    sending = Network(with_values(*ALL, r"events.kafka.servers=a.kafka:9093\,b.kafka:9093\,c.kafka:9094"))
    for port in (9093, 9094):
        assert {one for one in sending.components() - {"milvus"} if sending.allows(one, brokers, port)} == {"recall"}
    items = r"items.kafka.servers=b.kafka:9094\,c.kafka:9095"
    reading, both = Network(with_values(*ALL, items)), Network(with_values(*ALL, "events.kafka.servers=a:9093", items))
    assert [reading.allows("recall", brokers, port) for port in (9093, 9094, 9095)] == [False, True, True]
    assert all(both.allows("recall", brokers, port) for port in (9093, 9094, 9095))


def test_should_let_traces_out_only_where_they_are_sent(network: Network) -> None:
    collector = pod("observability", app="collector")
    assert not any(network.allows(component, collector, 4318) for component in network.components() - {"milvus"})
    sending = Network(with_values(*ALL, "tracing.endpoint=http://collector.observability:4318/v1/traces"))
    out = {one for one in sending.components() - {"milvus"} if sending.allows(one, collector, 4318)}
    assert out == {"recall", "tower"}
