#!/bin/sh
# Generates the Go code of a service's protos: generate.sh SERVICE MODULE; needs protoc-gen-go and protoc-gen-go-grpc.
# SERVICE is the service's repository after `make setup`, MODULE what go.mod calls yours. The code goes to gen/.
set -eu
service=$1
module=$2
own="order_service/v1/order.proto secure_rpc/v1/access.proto"
protos="$own buf/validate/validate.proto"
options=""
for proto in $protos; do
  options="$options,M$proto=$module/gen/$(dirname "$proto")"
done
mkdir -p gen
# shellcheck disable=SC2086 # a list of names without spaces
"$service/.venv/bin/python" -m grpc_tools.protoc --descriptor_set_in="$service/build/image.binpb" \
  --go_out="module=$module/gen$options:gen" --go-grpc_out="module=$module/gen$options:gen" $protos
