# The operator's image. The context holds this file and wheels/, made beforehand, so that the build needs no network:
#
#   pip wheel --no-deps --require-hashes -r requirements.lock -w wheels && pip wheel --no-deps . -w wheels
ARG BASE=docker.io/library/python:3.12-slim

FROM ${BASE} AS build
COPY wheels /wheels
# The pip of one environment fills another, which thus needs none. --no-deps: the lock names everything there is.
RUN python3 -m venv /tmp/pip \
 && python3 -m venv --without-pip /opt/headrace \
 && /tmp/pip/bin/pip --python /opt/headrace/bin/python --disable-pip-version-check --no-cache-dir \
      install --no-compile --no-index --no-deps /wheels/*.whl

FROM ${BASE}
COPY --from=build /opt/headrace /opt/headrace
# Bytecode that is valid whatever time the files bear: builds that set all times to one would otherwise make every
# start compile everything again, and a read-only root file system could not even keep it.
RUN /opt/headrace/bin/python -m compileall -q -f -j 0 -x '/(tests?|lib2to3)/' --invalidation-mode unchecked-hash \
      /opt/headrace/lib "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
# Nothing is written at run time but to /tmp.
ENV PATH=/opt/headrace/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A number, so that the kubelet can see that it is not root.
USER 10001:10001
ENTRYPOINT ["headrace"]
CMD ["operator"]
