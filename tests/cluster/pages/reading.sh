fresh() { kubectl patch dag flights -n air --type=json -p "[{\"op\": \"$1\", \"path\": \"/spec/publish/2/freshness\"$2}]"; }
trap 'fresh remove' EXIT
fresh add ', "value": "26h"'
TOKEN=$(kubectl create token headrace-cli)
