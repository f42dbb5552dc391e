# Every task a person runs. `make` alone lists them, with the variables they take.

SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# A variable may be set in the environment or behind the task: make demo DATA=../dogs BACKEND=process
DATA          ?=#                      folder with train/ valid/ test/, one sub-folder a breed; else data/dogImages, else drawings
BACKEND       ?= auto#                 auto, docker or process: auto takes Docker when an engine answers
BACKBONE      ?=#                      resnet50 or efficientnet_lite0; else resnet50, for the demo only where its weights can be had
EPOCHS        ?=#                      passes over the training pictures [see docs/hyperparameters.md]
BATCH_SIZE    ?=#                      pictures a step [see docs/hyperparameters.md]
LEARNING_RATE ?=#                      of the new head [see docs/hyperparameters.md]
BEST          ?=#                      best.json of a search, whose hyperparameters train takes
ATTACH        ?=#                      name of a search that hpo goes on with
PRETRAINED    ?=#                      folder with <backbone>*.pth or .safetensors, training's channel `pretrained`; else docker/weights, if any are there
OUTPUT        ?= runs#                 where jobs leave their results
MODEL         ?= runs/latest#          folder of the job whose model serve, batch, predict, card and doctor use
JOB           ?= runs/latest#          what analyze looks at: a job's folder, or s3://bucket/prefix
FILES         ?=#                      photographs or folders for query, predict and batch; a name with spaces in quotes of its own: FILES="'my dog.jpg'"
EXPLAIN       ?=#                      folder for predict: pictures of what spoke for each breed
PORT          ?= 8080#                 of the endpoint that serve starts and query asks
UI_PORT       ?= 8000#                 of the page that ui opens
ENDPOINT      ?=#                      name of a SageMaker endpoint that ui asks; else the one on PORT
IMAGE         ?=#                      what doctor examines; else this machine
REGISTRY      ?= ecr#                  where push pushes: ecr, ACCOUNT.dkr.ecr.REGION.amazonaws.com, 127.0.0.1:5000, …
TAG           ?= latest#               tag of both images; pushed as latest, to ECR as the revision they are built from
NO_CACHE      ?=#                      1: build every layer of the images anew
PLATFORM      ?=#                      of both images, such as linux/amd64; else the engine's own
BASE          ?= debian:bookworm-slim# base of both images
SOURCE        ?=#                      repository named in the images' labels; else git's remote
TESTS         ?= tests#                what test runs

DOCKER    ?= $(firstword $(wildcard /usr/bin/docker) docker)
CA_BUNDLE := $(or $(CA_BUNDLE),$(firstword $(wildcard $(SSL_CERT_FILE) /etc/ssl/certs/ca-certificates.crt /etc/ssl/cert.pem)))
UV        ?= .tools/uv
PYTHON    := .venv/bin/python
IMAGES    ?= dog-breeds-train:$(TAG) dog-breeds-serve:$(TAG)

ifneq ($(CA_BUNDLE),) # programs that bring a list of authorities of their own learn this machine's
export SSL_CERT_FILE := $(or $(SSL_CERT_FILE),$(CA_BUNDLE))
export REQUESTS_CA_BUNDLE := $(or $(REQUESTS_CA_BUNDLE),$(CA_BUNDLE))
export AWS_CA_BUNDLE := $(or $(AWS_CA_BUNDLE),$(CA_BUNDLE))
endif
export BASE CA_BUNDLE DOCKER NO_CACHE PLATFORM TAG
export SOURCE := $(or $(SOURCE),$(filter https://%,$(shell git config --get remote.origin.url | sed 's,//[^/@]*@,//,')))
export VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

ifeq ($(filter auto docker process,$(BACKEND)),)
$(error BACKEND is '$(BACKEND)': it must be auto, docker or process)
endif
ifeq ($(BACKEND),auto)
RESOLVED := $(if $(shell $(DOCKER) info >/dev/null 2>&1 && echo yes),docker,process)
else
RESOLVED := $(BACKEND)
endif
GROUPS_docker  := --group launch
GROUPS_process := --group launch --group train --group serve --group servers

# The pictures: what was asked for, else dogImages when `make data` brought it, else drawings.
PICTURES = $(or $(DATA),$(patsubst %/,%,$(wildcard data/dogImages/)),data/drawn)
WEIGHTS = $(or $(PRETRAINED),$(if $(wildcard docker/weights/*.pth docker/weights/*.safetensors),docker/weights))
HYPERPARAMETERS = $(if $(EPOCHS),--epochs $(EPOCHS)) $(if $(BATCH_SIZE),--batch-size $(BATCH_SIZE)) \
  $(if $(LEARNING_RATE),--learning-rate $(LEARNING_RATE)) $(if $(BEST),--hyperparameters "$(BEST)") $(if $(WEIGHTS),--pretrained "$(WEIGHTS)")

##@ Two commands

demo: ## from nothing to named breeds: set up, build, train, serve, ask
	@BACKEND=$(RESOLVED) BACKBONE=$(BACKBONE) PICTURES="$(PICTURES)" WEIGHTS="$(WEIGHTS)" MAKE="$(MAKE)" \
	  sh scripts/demo.sh --train-image dog-breeds-train:$(TAG) --serve-image dog-breeds-serve:$(TAG) \
	  --output "$(OUTPUT)" $(HYPERPARAMETERS)

test: setup-dev ## every test; what the machine lacks is skipped, with the reason
	$(PYTHON) -m pytest --numprocesses 2 --dist loadgroup $(TESTS)

##@ Set-up

setup: $(UV) ## the Python environment that BACKEND needs, from the lock file
	@$(UV) sync --quiet --frozen --inexact $(GROUPS_$(RESOLVED))

setup-hpo: $(UV)
	@$(UV) sync --quiet --frozen --inexact $(GROUPS_$(RESOLVED)) --group tune

setup-notebook: $(UV)
	@$(UV) sync --quiet --frozen --inexact $(GROUPS_$(RESOLVED)) --group tune --group notebook --group lab

setup-local-mode: $(UV)
	@$(UV) sync --quiet --frozen --inexact --group launch --group local-mode

setup-dev: $(UV)
	@$(UV) sync --quiet --frozen --inexact --group dev

.tools/uv:
	@python3 scripts/bootstrap.py

data: setup ## fetch dogImages.zip (1.1 GB) into data/
	@$(PYTHON) scripts/prepare_data.py

check-data: setup ## look into every picture of DATA: what cannot be read, stands twice, or is rare
	@$(PYTHON) scripts/prepare_data.py --data "$(PICTURES)" --scan --backend $(RESOLVED) --image dog-breeds-train:$(TAG)

upload: setup ## bring DATA to S3: what changed, without what cannot be read
	@$(PYTHON) scripts/prepare_data.py --data "$(PICTURES)" --scan --upload --backend $(RESOLVED) --image dog-breeds-train:$(TAG)

data/drawn: | setup
	@$(PYTHON) scripts/prepare_data.py --draw $@

weights: setup ## fetch ResNet50's ImageNet weights (98 MB) into docker/weights/
	@$(PYTHON) scripts/fetch_weights.py

lock: $(UV) ## write uv.lock and the images' requirements anew
	$(UV) lock
	$(EXPORT_train) --output-file docker/train.txt
	$(EXPORT_serve) --output-file docker/serve.txt

# What an image installs, from the lock. The serving image leaves out what only the toolkits' unused parts import.
EXPORT       = $(UV) export --quiet --frozen --no-emit-project --no-header
EXPORT_train = $(EXPORT) --only-group train
EXPORT_serve = $(EXPORT) --only-group serve $(addprefix --prune ,boto3 future model-archiver retrying scipy)

##@ Images

base: ## make BASE available: kept, pulled, or bootstrapped from Debian's packages
	@docker/base.sh $(BASE)

build: base ## both images, within their size budgets
	@$(MAKE) -j2 build-train build-serve

build-train build-serve: build-%: ## one of them
	@docker/build.sh $*

push: setup ## push both images to REGISTRY
	@$(PYTHON) scripts/push_images.py $(IMAGES) --registry $(REGISTRY) $(if $(filter-out latest,$(TAG)),--tag $(TAG))

##@ Model

train: setup $(if $(DATA),,$(filter data/drawn,$(PICTURES))) ## train a classifier on DATA
	@$(PYTHON) scripts/launch_training.py --backend $(RESOLVED) --data "$(PICTURES)" --output "$(OUTPUT)" \
	  --image dog-breeds-train:$(TAG) $(if $(BACKBONE),--backbone $(BACKBONE)) $(HYPERPARAMETERS)

hpo: setup-hpo $(if $(DATA),,$(filter data/drawn,$(PICTURES))) ## search hyperparameters on DATA: config/hpo.toml
	@$(PYTHON) scripts/launch_hpo.py --backend $(RESOLVED) --output "$(OUTPUT)" $(if $(ATTACH),--attach $(ATTACH), \
	  --data "$(PICTURES)" --image dog-breeds-train:$(TAG) $(if $(WEIGHTS),--pretrained "$(WEIGHTS)") \
	  --backbone "$(or $(BACKBONE),$$(WEIGHTS="$(WEIGHTS)" sh scripts/backbone.sh))")

serve: setup ## an endpoint with MODEL on PORT, until Ctrl-C
	@exec $(PYTHON) scripts/deploy.py --backend $(RESOLVED) --model "$(MODEL)/output/model.tar.gz" --port $(PORT) --image dog-breeds-serve:$(TAG)

query: setup ## ask the endpoint on PORT about FILES
	@$(PYTHON) scripts/invoke.py --url http://127.0.0.1:$(PORT) $(FILES)

batch: setup ## name the breeds of a whole folder, FILES, in one file: predictions.csv
	@$(PYTHON) scripts/batch_transform.py $(FILES) --backend $(RESOLVED) --model "$(MODEL)" --image dog-breeds-serve:$(TAG)

ui: setup ## a page to try the endpoint on PORT with: drop a photograph, see its breeds, and why
	@exec $(PYTHON) scripts/ui.py --port $(UI_PORT) $(if $(ENDPOINT),--endpoint-name "$(ENDPOINT)",--url http://127.0.0.1:$(PORT))

predict: setup ## name the breeds of FILES, without an endpoint and without a network
	@$(PYTHON) scripts/predict.py --backend $(RESOLVED) --job "$(MODEL)" --image dog-breeds-serve:$(TAG) \
	  $(if $(EXPLAIN),--explain "$(EXPLAIN)") $(FILES)

card: setup ## what MODEL is, is for, and is worth: model_card.md in its folder (docs/artifact.md)
	@$(PYTHON) scripts/model_card.py "$(MODEL)" --output "$(MODEL)/model_card.md"

analyze: setup ## run the debugger's rules on JOB and write its report, to OUTPUT where that is given
	@$(PYTHON) scripts/analyze_debug.py "$(JOB)" $(if $(filter-out runs,$(OUTPUT)),--output "$(OUTPUT)") --backend $(RESOLVED) --image dog-breeds-train:$(TAG) || [ $$? -eq 3 ] # 3: it found something

notebook: setup-notebook $(if $(DATA),,$(filter data/drawn,$(PICTURES))) ## the guided tour, train_and_deploy.ipynb; WHERE=aws: on SageMaker
	@DATA="$(PICTURES)" BACKEND=$(RESOLVED) $(if $(BACKBONE),BACKBONE="$(BACKBONE)") .venv/bin/jupyter lab \
	  $(if $(filter 0,$(shell id -u)),--allow-root) train_and_deploy.ipynb

notebook-outputs: setup-notebook $(if $(DATA),,$(filter data/drawn,$(PICTURES))) ## run the notebook and keep its outputs, without photographs
	@DATA="$(PICTURES)" BACKEND=$(RESOLVED) $(if $(BACKBONE),BACKBONE="$(BACKBONE)") $(PYTHON) scripts/run_notebook.py

##@ On AWS (docs/operations.md)

setup-account: setup ## a bucket, repositories for the images and a role in the AWS account, or mend them
	@$(PYTHON) scripts/setup_account.py

teardown: setup ## list all that the project has in the AWS account, ask, delete it
	@$(PYTHON) scripts/teardown.py

##@ Care

doctor: setup ## would IMAGE work on SageMaker; without one: what this machine lacks (docs/doctor.md)
	@$(PYTHON) scripts/doctor.py $(if $(IMAGE),"$(IMAGE)" $(if $(wildcard $(MODEL)/output/model.tar.gz),--model "$(MODEL)/output/model.tar.gz"),--environment)

lint: setup-dev ## style, types, and that the images' requirements are the lock's
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	@$(EXPORT_train) | diff - docker/train.txt && $(EXPORT_serve) | diff - docker/serve.txt \
	  || { echo "docker/*.txt is not what uv.lock says: make lock" >&2; exit 1; }

hooks: setup-dev ## let git run `make lint` before each commit
	$(PYTHON) -m pre_commit install

coverage: setup-dev ## which lines the tests outside containers run: build/coverage/index.html
	$(PYTHON) -m pytest --numprocesses 2 --dist loadgroup --cov --cov-report term --cov-report html tests/unit tests/aws

test-oldest test-newest: test-%: $(UV) ## the same tests with the oldest, or newest, dependencies that are allowed
	@.ci/dependencies $*

update: $(UV) ## the newest dependencies that are allowed
	$(UV) lock --upgrade
	@$(MAKE) lock

release: setup-dev ## VERSION=1.2.0: number, changelog, commit and tag, and images that carry them
	@$(DOCKER) version >/dev/null # before anything is written
	@$(PYTHON) scripts/release.py "$(VERSION)"
	@$(MAKE) build TAG=$(VERSION)
	@for image in train serve; do \
	  $(DOCKER) tag dog-breeds-$$image:$(VERSION) dog-breeds-$$image:$$(git rev-parse --short=12 HEAD) || exit 1; done

report-picture: ## README's picture of a report: that of JOB, as chromium shows it
	@chromium --headless --no-sandbox --hide-scrollbars --window-size=1100,950 \
	  --screenshot=docs/images/report.png "file://$(abspath $(JOB))/output/data/report/report.html"

format: setup-dev ## bring the code into style
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

bench: setup-dev ## the benchmarks that README's figures come from
	@for script in benchmarks/*.py; do $(PYTHON) $$script || exit 1; done

clean: ## remove the environment, drawings, results and both images (not data/dogImages, not weights)
	rm -rf .venv .tools build runs data/drawn .mypy_cache .ruff_cache .pytest_cache
	-@for image in $(IMAGES); do $(DOCKER) image rm $$image 2>/dev/null || :; done

help: ## this list
	@awk -f scripts/help.awk $(MAKEFILE_LIST)

.PHONY: demo test setup setup-hpo setup-notebook setup-local-mode setup-dev data check-data upload weights lock base build build-train build-serve push \
  train hpo serve query batch ui predict card analyze notebook notebook-outputs setup-account teardown doctor lint hooks coverage test-oldest test-newest update release report-picture format bench clean help
