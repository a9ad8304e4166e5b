#!/bin/sh
# Calls the order service with buf, which `make setup` brings; ADDRESS, TLS_FOLDER and TOKEN_FILE say where and as whom.
set -eu
address=${ADDRESS:-localhost:50051}
tls=${TLS_FOLDER:-.dev}

call() { # METHOD JSON [more of buf's options]
  method=$1
  data=$2
  shift 2
  .venv/bin/buf curl --protocol grpc --schema build/image.binpb \
    --cacert "$tls/ca.pem" --cert "$tls/client.pem" --key "$tls/client.key" \
    --header "authorization: Bearer $(cat "${TOKEN_FILE:-token.txt}")" "$@" \
    --data "$data" "https://$address/order_service.v1.OrderService/$method"
}

nonce=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
call CreateOrder '{"tenant": "acme", "title": "tea"}' \
  --header "request-nonce: $nonce" --header "request-time: $(date +%s)"
call GetOrder '{"tenant": "acme", "id": "1"}'
call GetOrder '{"tenant": "acme", "id": "none"}' || echo "refused"
