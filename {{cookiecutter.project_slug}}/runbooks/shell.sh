# What the commands of the runbooks need. Source it in bash or zsh, in the folder of the service:
#
#   . runbooks/shell.sh                        # the service of this machine, by config/dev.yaml
#   export CONFIG=other.yaml                   # before that: by other settings
#   export PROMETHEUS=http://127.0.0.1:9090    # `metric` asks Prometheus, for what runs in a cluster
#
# shellcheck shell=bash

if [ ! -f pyproject.toml ] || [ ! -f runbooks/shell.sh ]; then
  echo "runbooks/shell.sh: source it in the folder of the service, where pyproject.toml is" >&2
  return 1
fi

SERVICE=$(sed -n 's/^name = "\(.*\)"$/\1/p' pyproject.toml | head -n 1)
CONFIG=${CONFIG:-${SECURE_RPC_CONFIG:-config/dev.yaml}}
NAMESPACE=${NAMESPACE:-$(sed -n 's/^  namespace: //p' deploy/base/values.yaml)}
TRUST_DOMAIN=$(sed -n 's/^  trust-domain: //p' deploy/base/values.yaml)
ACCOUNT=$(sed -n 's/^  account: //p' deploy/base/values.yaml)
PROMETHEUS=${PROMETHEUS:-}
# where the pods have the settings; deploy/base/deployment.yaml mounts them there
POD_CONFIG=/etc/$SERVICE/settings/settings.yaml
PATH=$PWD/.venv/bin:$PATH
export SERVICE CONFIG NAMESPACE TRUST_DOMAIN ACCOUNT PROMETHEUS POD_CONFIG PATH
export SECURE_RPC_CONFIG=$CONFIG # what the service's commands read where --config is not given

if [ -x .venv/bin/python ]; then
  # as the service itself reads them, the environment included
  ADMIN=$(.venv/bin/python -c 'import pathlib, sys
from secure_rpc.settings import load
print(load(pathlib.Path(sys.argv[1])).listen.admin_address)' "$CONFIG") || return 1
else
  ADMIN=127.0.0.1:9464
  echo "runbooks/shell.sh: there is no .venv, so the service's own commands are missing (make setup); kubectl works" >&2
fi
export ADMIN

# metric NAME...: the series whose names begin so, of the service of this machine, or of all replicas by Prometheus
metric() {
  for _name in "$@"; do
    if [ -n "$PROMETHEUS" ]; then
      _seen=$(curl -sS -G "$PROMETHEUS/federate" --data-urlencode "match[]={__name__=~\"$_name.*\",job=\"$SERVICE\"}")
    else
      _seen=$(curl -sS "http://$ADMIN/metrics")
    fi || return 1
    if grep "^$_name" <<<"$_seen"; then
      continue
    elif [ -n "$PROMETHEUS" ] || grep -q "^# TYPE ${_name%_total} " <<<"$_seen"; then
      echo "$_name: none yet"
    else
      echo "metric: the service has nothing of the name $_name" >&2
      return 1
    fi
  done
}

# ready: whether the service takes calls, and if not why
ready() {
  curl -sS "http://$ADMIN/readyz" && echo
}

# knock: a call through mutual TLS and the chain to the health service, as the developer's client
knock() {
  "$SERVICE" call /grpc.health.v1.Health/Check "$@"
}

# pods: the pods of the service, one name a line
pods() {
  kubectl -n "$NAMESPACE" get pods -l "app.kubernetes.io/name=$SERVICE" -o name
}

# in_pod COMMAND...: a command of the service in one of its pods; standard input goes there
in_pod() {
  kubectl -n "$NAMESPACE" exec -i "deployment/$SERVICE" -c service -- "$SERVICE" "$@" --config "$POD_CONFIG"
}

# each_pod COMMAND...: the same in all of them, for what each has for itself, as its audit log
each_pod() {
  for _pod in $(pods); do
    echo "--- $_pod"
    kubectl -n "$NAMESPACE" exec "$_pod" -c service -- "$SERVICE" "$@" --config "$POD_CONFIG" </dev/null
  done
}

# evidence FOLDER: the audit log of each pod, its anchor and closed files, as one tar each; the image needs no tar
evidence() {
  mkdir -p "$1"
  for _pod in $(pods); do
    kubectl -n "$NAMESPACE" exec "$_pod" -c service -- python3 -c 'import sys, tarfile
with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
    archive.add(sys.argv[1], "audit")' "/var/log/$SERVICE" </dev/null >"$1/${_pod#pod/}.tar"
  done
  ls -l "$1"
}
