# The CPU image: server, worker, and runs on CPU cores.
#   docker build -f infra/docker/cpu.Dockerfile --build-arg CODE_VERSION="$(git rev-parse HEAD)" \
#     -t east:cpu .
FROM python:3.11.14-slim-bookworm AS build
ARG EXTRAS="cpu kubernetes"
# PyTorch's own index; empty where uv is told of another place that has CPU builds (/etc/uv/uv.toml)
ARG TORCH_BACKEND=cpu
WORKDIR /opt/east
RUN python -m pip install --no-cache-dir uv==0.13.9 && python -m venv /opt/venv
ENV VIRTUAL_ENV=/opt/venv UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1
# Dependencies first: a change of the code alone reuses this layer. The pinned file constrains, so
# that the development tools in it stay out.
COPY pyproject.toml ./
COPY requirements/ requirements/
RUN set -- && for extra in $EXTRAS; do set -- "$@" --extra "$extra"; done \
    && uv pip install ${TORCH_BACKEND:+"--torch-backend=$TORCH_BACKEND"} -r pyproject.toml "$@" \
    --constraint requirements/cpu.txt --override requirements/overrides-cpu.txt
COPY . .
# Editable: infra/prefect.yaml is found beside the packages.
RUN uv pip install --no-deps --editable . && /opt/venv/bin/python -m flows.server.template

FROM python:3.11.14-slim-bookworm
ARG CODE_VERSION=unknown
# bubblewrap is the sandbox of grading code; libnuma1 is vLLM's; tini reaps what killed engines
# leave and passes signals on.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends bubblewrap libnuma1 tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --create-home east \
    && install --directory --owner=east --group=east /srv/east /var/cache/east /var/tmp/east
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/east /opt/east
# The device lock is the container's own: with EAST_CACHE on a shared volume it must not be shared.
ENV PATH=/opt/venv/bin:$PATH \
    EAST_CODE_VERSION=$CODE_VERSION EAST_WORKDIR=/srv/east EAST_CACHE=/var/cache/east \
    EAST_SCRATCH=/var/tmp/east EAST_DEVICE_LOCK=/tmp/east-device.lock \
    HF_HUB_DISABLE_TELEMETRY=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT=false \
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY=30
USER 10001
WORKDIR /srv/east
ENTRYPOINT ["tini", "--"]
CMD ["east", "--help"]
