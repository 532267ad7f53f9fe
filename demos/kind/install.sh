#!/usr/bin/env bash
# NEVER RUN HERE: where Pagoda is developed there is neither Docker nor a registry. Each command was read from the file
# that docs/kind.md names beside it, and tests hold page, script and chart together; no cluster has seen them.
#
# The commands of docs/kind.md: an empty machine, one kind node, `helm test`. Run it again to go on where it ended.
set -eu -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
trap 'kill $(jobs -p) 2> /dev/null || true' EXIT
step() { printf '\n== %s\n' "$*"; }

step "The cluster"
. demos/kind/versions.env
export KUBECONFIG=$PWD/build/kind/kubeconfig
kind get clusters | grep -x pagoda || kind create cluster --name pagoda --image "$KIND_NODE" --wait 5m
kind export kubeconfig --name pagoda

step "Images"
make env images
kind load docker-image --name pagoda "ghcr.io/pagoda/tower:$PAGODA_VERSION" \
  "ghcr.io/pagoda/recall:$PAGODA_VERSION" "ghcr.io/pagoda/components:$PAGODA_VERSION"

step "cert-manager"
helm upgrade --install cert-manager oci://quay.io/jetstack/charts/cert-manager --version "$CERT_MANAGER_VERSION" \
  -n cert-manager --create-namespace --set crds.enabled=true --wait --timeout 15m

step "KServe"
helm upgrade --install kserve-crd oci://ghcr.io/kserve/charts/kserve-crd --version "$KSERVE_VERSION" \
  -n kserve --create-namespace --wait --timeout 15m
helm upgrade --install kserve-resources oci://ghcr.io/kserve/charts/kserve-resources --version "$KSERVE_VERSION" \
  -n kserve --wait --timeout 15m \
  --set kserve.controller.deploymentMode=Standard \
  --set kserve.controller.gateway.disableIngressCreation=true \
  --set kserve.controller.gateway.disableIstioVirtualHost=true

step "Kubeflow Pipelines"
pipelines=github.com/kubeflow/pipelines/manifests/kustomize
kubectl apply -k "$pipelines/cluster-scoped-resources?ref=$KUBEFLOW_PIPELINES_VERSION"
kubectl wait crd/applications.app.k8s.io --for=condition=established --timeout=1m
kubectl apply -k "$pipelines/env/platform-agnostic?ref=$KUBEFLOW_PIPELINES_VERSION"
kubectl -n kubeflow wait deployment --all --for=condition=Available --timeout=20m

step "Milvus operator"
operator=https://github.com/zilliztech/milvus-operator/releases/download/v$MILVUS_OPERATOR_VERSION
helm upgrade --install milvus-operator "$operator/milvus-operator-$MILVUS_OPERATOR_VERSION.tgz" \
  -n milvus-operator --create-namespace --wait --timeout 15m

step "Namespace and keys"
kubectl create namespace pagoda --dry-run=client -o yaml | kubectl apply --server-side -f -
kubectl label namespace pagoda app.kubernetes.io/part-of=kubeflow-profile --overwrite
of_kubeflow() { kubectl -n kubeflow get secret mlpipeline-minio-artifact -o "jsonpath={.data.$1}" | base64 -d; }
AWS_ACCESS_KEY_ID=$(of_kubeflow accesskey)
AWS_SECRET_ACCESS_KEY=$(of_kubeflow secretkey)
export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
for namespace in pagoda kubeflow; do
  kubectl -n $namespace create secret generic pagoda-object-storage --dry-run=client -o yaml \
    --from-literal=AWS_ACCESS_KEY_ID="$AWS_ACCESS_KEY_ID" \
    --from-literal=AWS_SECRET_ACCESS_KEY="$AWS_SECRET_ACCESS_KEY" | kubectl apply --server-side -f -
done
kubectl -n pagoda annotate secret pagoda-object-storage --overwrite serving.kserve.io/s3-region=us-east-1 \
  serving.kserve.io/s3-endpoint=seaweedfs.kubeflow:8333 serving.kserve.io/s3-usehttps=0

for secret in "pagoda-tokens ask events users items operate watch" "pagoda-redis-users recall sink rollout" "pagoda-mlflow-login username password"; do
  set -- $secret && kubectl -n pagoda get secret "$1" > /dev/null 2>&1 || kubectl -n pagoda create secret generic "$1" \
    $(shift; for key in "$@"; do echo "--from-literal=$key=$(openssl rand -hex 32)"; done)
done
value() { kubectl -n pagoda get secret pagoda-mlflow-login -o "jsonpath={.data.$1}" | base64 -d; }
kubectl -n kubeflow get secret pagoda-mlflow-login > /dev/null 2>&1 || kubectl -n kubeflow create secret generic pagoda-mlflow-login \
  --from-literal=username="$(value username)" --from-literal=password="$(value password)"

step "Pagoda"
helm upgrade --install pagoda helm/pagoda -n pagoda -f helm/pagoda/profiles/minimal.yaml
kubectl -n pagoda rollout status statefulset/pagoda-redis --timeout=10m
kubectl -n pagoda rollout status deployment/pagoda-mlflow --timeout=10m
kubectl -n pagoda wait milvus/pagoda --for=condition=MilvusReady --timeout=20m
kubectl -n pagoda wait job -l app.kubernetes.io/component=pipelines-setup --for=condition=Complete --timeout=10m

step "A dataset in the bucket"
answers() { timeout 60 bash -c "until (: < /dev/tcp/localhost/$1) 2> /dev/null; do sleep 1; done"; }
kubectl -n kubeflow port-forward service/seaweedfs 28333:8333 > /dev/null &
answers 28333
[ -e build/kind/dataset ] || .venv/bin/pagoda data import movielens-100k build/kind/dataset
AWS_ENDPOINT_URL=http://localhost:28333 AWS_DEFAULT_REGION=us-east-1 \
  .venv/bin/python -m demos.kind.dataset build/kind/dataset s3://mlpipeline/pagoda/dataset

step "The first update"
if ! kubectl -n pagoda wait deployment/pagoda-recall --for=condition=Available --timeout=1s > /dev/null 2>&1; then
  kubectl -n kubeflow port-forward service/ml-pipeline 28888:8888 > /dev/null &
  answers 28888
  run=$(.venv/bin/pagoda pipelines run full-update --host http://localhost:28888 --output json \
    -p dataset=s3://mlpipeline/pagoda/dataset -p train_cpu=2 -p train_memory=4Gi | grep -oP '"run": "\K[^"]+')
  kubectl -n kubeflow wait workflow -l "pipeline/runid=$run" --for=jsonpath='{.status.phase}'=Succeeded --timeout=60m
fi

step "Ask"
kubectl -n pagoda wait deployment/pagoda-recall --for=condition=Available --timeout=20m
helm test pagoda -n pagoda --logs
