# One environment in .venv, called as .venv/bin/python -m …; `make help` lists the targets.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PY := .venv/bin/python
SCHEMAS ?= ../shared/schemas
export SCHEMAS
# Every process would compile the same thousands of files again: half of what a step of a pipeline takes.
export PYTHONDONTWRITEBYTECODE :=

help: ## List the targets.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

# Where PyTorch's CPU build is; PyPI's brings several GB of CUDA. An index that cannot be reached is passed over.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# Every file by its hash (make lock), so nothing is resolved; recbole is wanted for its data only, and torchrec asks for
# a build of fbgemm that does not fit this torch.
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation
.venv/installed: pyproject.toml $(wildcard requirements/*.txt)
	@echo "Installing the environment into .venv (about 3 minutes, 3 GB; once)"
	@test -x $(PY) || "$(PYTHON)" -m venv .venv
	@$(PY) $(PIP_INSTALL) --require-hashes --retries 1 --extra-index-url $(TORCH_INDEX) --requirement requirements/first.txt
	@$(PY) $(PIP_INSTALL) --require-hashes --requirement requirements/environment.txt --requirement requirements/data.txt --requirement requirements/distributed.txt
	@$(PY) $(PIP_INSTALL) --editable .
	@# Some packages hold files that are no Python of this version; they are imported by nobody.
	@$(PY) -m compileall -q -j 0 "$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" > /dev/null || true
	@touch $@

lock: .venv/installed ## Write requirements/ anew: the hash of every file that is installed, from the versions in constraints.txt.
	$(PY) requirements/lock.py

audit: .venv/tools ## Look for known faults in what is installed; where no database answers, it ends with "not checked" and status 1.
	requirements/audit.sh

.venv/tools: .venv/installed helm/tools.sh requirements/tools.txt
	@helm/tools.sh

env: .venv/installed ## Install everything into .venv (done by the other targets when needed).

demo: .venv/installed ## The main job on real data: MovieLens-100K to served recall (PROFILE=compact, KEEP=1 leaves it up).
	$(PY) -m demos.main_job $(if $(KEEP),--keep) $(if $(PROFILE),--profile $(PROFILE))

demo-rollout: .venv/installed ## Candidates good and bad, rolled out under simulated traffic (8 minutes on 2 cores).
	$(PY) -m demos.rollout

# Five workers, since tests wait for servers half of their time; whole files to each: a file shares its servers. The longest files come first (tests/conftest.py).
# What waits for what never comes is a failure with its stack, not a run without end.
test: .venv/tools ## The tests, real servers included (15 minutes on 2 quiet cores).
	$(PY) -m pytest -m "not long" -n 5 --dist loadfile --no-loadscope-reorder --timeout 1200

test-long: .venv/installed ## What is exhaustive: kill matrices, fuzz, soak (EIGHTH=0..7: that part of it; none begins after MINUTES, 10 unless told).
	$(PY) -m pytest -m long $(if $(EIGHTH),--eighth $(EIGHTH) --minutes $(or $(MINUTES),10))

# pyspark beside the environment: 500 MB that nobody else needs. Its own requirements lie there already.
build/spark/installed: requirements/spark.txt .venv/installed
	@echo "Installing pyspark into build/spark (500 MB)"
	@$(PY) $(PIP_INSTALL) --require-hashes --upgrade --target build/spark --requirement $<
	@touch $@

test-spark: build/spark/installed ## The import on Spark beside the importer, in local mode; needs Java 17 (2 minutes).
	PYTHONPATH=$(CURDIR)/build/spark $(PY) -m pytest tests/data/spark --timeout 600

# What a rollout and the chart meet on an API server. Without one the fakes stand in, and the output says so.
CLUSTER_TESTS = tests/rollout/kserve tests/cluster tests/helm/parts/test_scaling.py tests/helm/network/test_neighbours.py tests/pipelines/kubeflow/test_kubeflow.py
test-cluster: .venv/tools ## The same on the API server that KUBECONFIG names, with the CRDs of KServe and Milvus; without one on the fakes.
	@$(if $(KUBECONFIG),echo "on the API server of $(KUBECONFIG)",echo "no KUBECONFIG: on the fakes of tests/rollout/kserve/fakes, and tests/cluster is skipped")
	$(PY) -m pytest -m "not long" $(CLUSTER_TESTS) $(if $(KUBECONFIG),--cluster) -rs

lint: .venv/installed ## Style, types and layers.
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports

format: .venv/installed ## Format the code.
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

charts: .venv/tools ## Bring up to date what is made of others: compiled pipelines, chart schema and README, kustomize folders.
	$(PY) -m pipelines.compile
	$(PY) -m helm.generate

bench-publish: .venv/installed ## What publishing an incremental version costs, whatever the base (5 minutes, 8 GB of disk).
	$(PY) -m benchmarks.publish

bench-online: .venv/installed ## The online path against its parts and its peers: 1 M items × 64, top-100 (18 minutes on 2 quiet cores).
	$(PY) -m benchmarks.online

bench-faults: .venv/installed ## What users notice when something breaks, under 100 requests a second (13 minutes).
	$(PY) -m benchmarks.faults

bench-fairness: .venv/installed ## What one bad client costs the others, under 200 requests a second (12 minutes).
	$(PY) -m benchmarks.fairness

bench-freshness: .venv/installed ## From a click to the next answer, to the training files, to the user's served ID row (5 minutes).
	$(PY) -m benchmarks.freshness

bench-replay: .venv/installed ## What each policy of updates is worth: worlds of every drift, MovieLens-100K (20 minutes on 2 cores).
	$(PY) -m benchmarks.replay

# The peers, pinned; in a folder of their own, since their declared dependencies would replace our PyTorch.
build/bench/peers/installed: benchmarks/training/requirements.txt .venv/installed
	@echo "Installing torch-rechub into build/bench/peers"
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target build/bench/peers -r $<
	@touch $@

bench-training: build/bench/peers/installed ## How fast training is, beside torch-rechub and TorchRec, and up to 20 M rows (about 20 minutes on 2 quiet cores).
	$(PY) -m benchmarks.training

build/bench/index-peers/installed: benchmarks/index/requirements.txt .venv/installed
	@echo "Installing search libraries into build/bench/index-peers"
	@while read -r peer; do case $$peer in \#*) ;; *) \
		$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --upgrade --target build/bench/index-peers "$$peer" \
		|| echo "$$peer does not install here; it is left out";; esac; done < $<
	@touch $@

ITEMS ?= 100000
KINDS ?= HNSW HNSW_SQ8 IVF_SQ8 IVF_PQ
bench-index: build/bench/index-peers/installed ## Search libraries and our backends at the same recall, with filters (ITEMS=100000: 15 minutes on 2 quiet cores; goes on where it stopped), with each of KINDS="HNSW IVF_PQ".
	$(PY) -m benchmarks.index --items $(ITEMS) --kinds $(KINDS)

SEQUENCES ?= ../shared/data/beauty.txt
SEEDS ?= 0
bench-quality: .venv/installed ## How good what is found is: leave-one-out on SEQUENCES=FILE, a user and their items in time order a line (under an hour a seed of SEEDS=0,1,…; goes on where it stopped). UNORDERED=1: pairs without order, with TEST=FILE to find.
	$(PY) -m benchmarks.quality $(SEQUENCES) --seeds $(SEEDS) $(if $(UNORDERED),--unordered) $(if $(TEST),--test $(TEST))

bench-leaderboard: .venv/installed ## Towers beside plain baselines on FILES (else MovieLens-100K and worlds): leave-one-out and time split, five seeds, intervals (hours; goes on where it stopped).
	$(PY) -m benchmarks.leaderboard $(FILES)

bench-channels: .venv/installed ## What answers of several channels find beside the towers alone, on FILES (else MovieLens-100K and worlds; 2 minutes on 2 cores), and what bench-cold finds; goes on where it stopped.
	$(PY) -m benchmarks.channels $(FILES)

bench-ablation: .venv/installed ## What each technique of training is worth (20 minutes on 2 cores).
	$(PY) -m benchmarks.ablation

bench-prerank: .venv/installed ## What a pre-ranker is worth, which features it reads, and what 1,000 candidates cost a request (10 minutes on 2 cores).
	$(PY) -m benchmarks.prerank

bench-cold: .venv/installed ## What new items and users are known by, and its worth, in worlds where they arrive and answers are acted upon (20 trainings, about 15 s of a core each; goes on where it stopped).
	$(PY) -m benchmarks.cold

bench-hashed: .venv/installed ## What users' shared rows cost in quality, beside full tables and cut ones (80 trainings, about 10 s of a core each; goes on where it stopped).
	$(PY) -m benchmarks.hashed

bench-gpu: .venv/installed ## Samples a second of a CUDA device as a share of its memory's speed, beside TorchRec (4 minutes; never run on a device yet).
	$(PY) -m benchmarks.gpu

bench-import: .venv/installed ## Importing CSV of up to 10 M rows over 1,000 dates, beside DuckDB's copy to sorted Parquet (4 minutes).
	$(PY) -m benchmarks.imports

images: ## Build the images with docker, podman or buildah (BASE_IMAGE, REGISTRY, TAG; RELEASE=1 for those that are shipped).
	serving/images.sh

clean: ## Remove what the targets made, the environment included.
	rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help env lock audit demo demo-rollout bench-online bench-faults bench-fairness bench-freshness bench-import bench-index bench-prerank bench-publish bench-replay bench-training bench-quality bench-leaderboard bench-channels bench-ablation bench-cold bench-hashed bench-gpu test test-long test-spark test-cluster lint format charts images clean
