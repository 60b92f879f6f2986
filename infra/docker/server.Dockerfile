# The server's image: Prefect's server with the run browser, and the command line; no engines.
#   docker build -f infra/docker/server.Dockerfile --build-arg CODE_VERSION="$(git rev-parse HEAD)" \
#     -t east:server .
FROM python:3.11.14-slim-bookworm AS build
WORKDIR /opt/east
RUN python -m pip install --no-cache-dir uv==0.13.9 && python -m venv /opt/venv
ENV VIRTUAL_ENV=/opt/venv UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1
# Dependencies first: a change of the code alone reuses this layer.
COPY requirements/flows.txt requirements/flows.txt
RUN uv pip install -r requirements/flows.txt
COPY . .
# Editable: infra/prefect.yaml is found beside the packages.
RUN uv pip install --no-deps --editable . && /opt/venv/bin/python -m flows.server.template

FROM python:3.11.14-slim-bookworm
ARG CODE_VERSION=unknown
# tini passes signals on.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --create-home east \
    && install --directory --owner=east --group=east /srv/east /var/cache/east /var/tmp/east
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/east /opt/east
ENV PATH=/opt/venv/bin:$PATH \
    EAST_CODE_VERSION=$CODE_VERSION EAST_WORKDIR=/srv/east EAST_CACHE=/var/cache/east \
    EAST_SCRATCH=/var/tmp/east DO_NOT_TRACK=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT=false
USER 10001
WORKDIR /srv/east
ENTRYPOINT ["tini", "--"]
CMD ["uvicorn", "--factory", "flows.server.application:create_app", "--host", "0.0.0.0", "--port", "4200"]
