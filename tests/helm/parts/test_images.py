"""Where images come from."""

from __future__ import annotations

from tests.helm.charts import composed, fitted, given, with_values

DIGEST = "sha256:" + "a" * 64


def test_should_take_every_image_from_the_mirror_that_is_named() -> None:
    mirror = "registry.corp:5000/mirror"
    chart = fitted()
    images = {container["image"] for _, container in chart.containers()}
    milvus = chart.one("Milvus", "pagoda")["spec"]
    inside = {part: milvus["dependencies"][part]["inCluster"]["values"] for part in ("etcd", "storage")}
    images |= {milvus["components"]["image"]}
    images |= {inside["storage"][image]["repository"] for image in ("image", "mcImage")}
    assert images >= {
        f"{mirror}/valkey/valkey:8.1.3-alpine",
        f"{mirror}/minio/minio",
        f"{mirror}/milvusdb/milvus:v2.6.16",
    }
    assert all(image.startswith(f"{mirror}/") and "ghcr.io" not in image for image in images)
    assert inside["etcd"]["global"]["imageRegistry"] == mirror


def test_should_pull_every_image_with_the_secrets_that_are_named() -> None:
    chart = fitted()
    for name, pod in composed(chart):
        assert pod["spec"]["imagePullSecrets"] == [{"name": "registry-corp"}], name
    milvus = chart.one("Milvus", "pagoda")["spec"]
    assert milvus["components"]["imagePullSecrets"] == [{"name": "registry-corp"}]
    for part in ("etcd", "storage"):
        assert milvus["dependencies"][part]["inCluster"]["values"]["global"]["imagePullSecrets"] == ["registry-corp"]


def test_should_use_digests_where_they_are_given() -> None:
    digests = {name: {"digest": DIGEST} for name in ("recall", "tower", "components")}
    redis, milvus = f"docker.io/valkey/valkey:8@{DIGEST}", f"docker.io/milvusdb/milvus:v2.6.17@{DIGEST}"
    chart = given({"images": digests, "redis": {"image": redis}, "milvus": {"image": milvus}})
    assert all(container["image"].endswith(f"@{DIGEST}") for _, container in chart.containers())
    components = chart.one("Milvus", "pagoda")["spec"]["components"]
    # The operator takes the text behind the last colon for the version, unless it is told.
    assert (components["image"], components["version"]) == (milvus, "v2.6.17")
    assert "version" not in with_values().one("Milvus", "pagoda")["spec"]["components"]


def test_should_keep_a_repository_that_names_no_registry() -> None:
    chart = with_values("images.mirror=registry.corp/", "redis.image=valkey/valkey:8")
    (redis,) = chart.one("StatefulSet", "pagoda-redis")["spec"]["template"]["spec"]["containers"]
    assert redis["image"] == "registry.corp/valkey/valkey:8"
