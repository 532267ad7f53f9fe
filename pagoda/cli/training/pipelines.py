"""`pagoda pipelines upload | run | schedule`: the pipelines in Kubeflow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pagoda.cli.options import OutputFormat, OutputOption

if TYPE_CHECKING:
    from pipelines.kubeflow import Kubeflow
    from pipelines.pipeline_package import Names

app = typer.Typer(name="pipelines", help="Upload, run and schedule the pipelines in Kubeflow.", no_args_is_help=True)

HostOption = Annotated[
    str, typer.Option("--host", envvar="KF_PIPELINES_ENDPOINT", help="Address of Kubeflow Pipelines, with http(s)://.")
]
NamespaceOption = Annotated[
    str, typer.Option("--namespace", "-n", help="Namespace of the runs, where Kubeflow has several users.")
]
ParameterOption = Annotated[
    list[str], typer.Option("--parameter", "-p", help="A parameter as name=value; repeat for more.")
]
AccountOption = Annotated[
    str, typer.Option("--service-account", help="Service account of the steps. Default: Kubeflow's.")
]
ImageOption = Annotated[str, typer.Option("--image", help="Image of the steps. Default: of this version.")]
SettingsOption = Annotated[str, typer.Option("--settings", help="ConfigMap with the steps' settings.")]
StorageOption = Annotated[str, typer.Option("--storage-secret", help="Secret with the object storage's keys.")]
MilvusOption = Annotated[str, typer.Option("--milvus-secret", help="Secret with Milvus' token.")]
ElasticsearchOption = Annotated[
    str, typer.Option("--elasticsearch-secret", help="Secret with Elasticsearch's URL and API key.")
]
SigningOption = Annotated[str, typer.Option("--signing-secret", help="Secret with the key that signs the logs.")]
MlflowOption = Annotated[str, typer.Option("--mlflow-secret", help="Secret with MLflow's username and password.")]
QueueOption = Annotated[str, typer.Option("--queue", help="Kueue's LocalQueue in which training waits. Default: none.")]


@app.command()
def upload(
    name: Annotated[list[str] | None, typer.Argument(help="Pipelines. Default: all.")] = None,
    *,
    host: HostOption,
    namespace: NamespaceOption = "",
    image: ImageOption = "",
    settings: SettingsOption = "",
    storage_secret: StorageOption = "",
    milvus_secret: MilvusOption = "",
    elasticsearch_secret: ElasticsearchOption = "",
    signing_secret: SigningOption = "",
    mlflow_secret: MlflowOption = "",
    queue: QueueOption = "",
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Upload the compiled pipelines; a version that is there already is not uploaded again."""
    from pipelines.pipeline_package import Package, available

    names = _names(
        image=image,
        settings=settings,
        storage_secret=storage_secret,
        milvus_secret=milvus_secret,
        elasticsearch_secret=elasticsearch_secret,
        signing_secret=signing_secret,
        mlflow_secret=mlflow_secret,
        queue=queue,
    )
    packages = [Package.of(one, names) for one in name or available()]
    kubeflow = _kubeflow(host, namespace)
    rows = []
    for package in packages:
        version, outcome = kubeflow.upload(package)
        rows.append({"pipeline": package.name, "version": version.name, "id": outcome.id, "done": outcome.done})
    _print(rows, output)


@app.command()
def run(
    name: Annotated[str, typer.Argument(help="Pipeline.")],
    *,
    host: HostOption,
    namespace: NamespaceOption = "",
    parameter: ParameterOption = [],  # noqa: B006 - typer's way
    service_account: AccountOption = "",
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Start a run of the newest version of a pipeline."""
    from pipelines.pipeline_package import Package

    parameters = Package.of(name).read_parameters(_pairs(parameter))
    run_id = _kubeflow(host, namespace).run(name, parameters, service_account)
    _print([{"pipeline": name, "run": run_id, "url": f"{host.rstrip('/')}/#/runs/details/{run_id}"}], output)


@app.command()
def schedule(
    pipeline: Annotated[str, typer.Argument(help="Pipeline.")],
    *,
    name: Annotated[str, typer.Option(help="Name of the schedule. Default: the pipeline's.")] = "",
    cron: Annotated[str, typer.Option(help="When, five fields, UTC: '0 3 * * *'.")] = "",
    every_minutes: Annotated[int, typer.Option(min=0, help="How often, instead of --cron.")] = 0,
    host: HostOption,
    namespace: NamespaceOption = "",
    parameter: ParameterOption = [],  # noqa: B006 - typer's way
    service_account: AccountOption = "",
    version: Annotated[str, typer.Option(help="Name of the version. Default: the newest.")] = "",
    image: ImageOption = "",
    settings: SettingsOption = "",
    storage_secret: StorageOption = "",
    milvus_secret: MilvusOption = "",
    elasticsearch_secret: ElasticsearchOption = "",
    signing_secret: SigningOption = "",
    mlflow_secret: MlflowOption = "",
    queue: QueueOption = "",
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Have a pipeline run by itself: without catch-up, one run at a time. Repeating it changes nothing.

    With the options that it was uploaded with (--image and so on) it is that version that runs, newest or not.
    """
    from pipelines.pipeline_package import Names, Package
    from pipelines.schedule import Schedule

    wanted = Schedule(name or pipeline, cron, every_minutes)
    parameters = Package.of(pipeline).read_parameters(_pairs(parameter))
    names = _names(
        image=image,
        settings=settings,
        storage_secret=storage_secret,
        milvus_secret=milvus_secret,
        elasticsearch_secret=elasticsearch_secret,
        signing_secret=signing_secret,
        mlflow_secret=mlflow_secret,
        queue=queue,
    )
    if not version and names != Names():
        version = Package.of(pipeline, names).version
    outcome = _kubeflow(host, namespace).schedule(pipeline, wanted, parameters, service_account, version)
    _print([{"schedule": wanted.name, "pipeline": pipeline, "id": outcome.id, "done": outcome.done}], output)


def _names(**given: str) -> Names:
    from pipelines.pipeline_package import Names

    return Names(**{key: value for key, value in given.items() if value})


def _kubeflow(host: str, namespace: str) -> Kubeflow:
    from pipelines.kubeflow import Kubeflow

    return Kubeflow(host, namespace)


def _pairs(texts: list[str]) -> dict[str, str]:
    for text in texts:
        if "=" not in text:
            raise typer.BadParameter(f"{text!r}: expected name=value", param_hint="--parameter")
    return {name: value for name, _, value in (text.partition("=") for text in texts)}


def _print(rows: list[dict[str, Any]], output: OutputFormat) -> None:
    if output == OutputFormat.JSON:
        typer.echo(json.dumps(rows))
        return
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(Text(str(value)) for value in row.values()))
    Console().print(table)
