# What every page takes for granted: the namespace air of the demo is where commands go, and headrace-report is there.
cp "$KUBECONFIG" kubeconfig
export KUBECONFIG=$PWD/kubeconfig
kubectl config set-context --current --namespace=air
mkdir bin
printf '#!/bin/sh\nexec env PYTHONPATH=%s %s -m headrace.worker.report "$@"\n' "$OPERATOR" "$PYTHON" > bin/headrace-report
chmod +x bin/headrace-report
PATH=$PWD/bin:$PATH

# pod_of JOB: be in the pod of a task of it, once it runs, as far as a task's document and token go.
pod_of() {
  local pod account
  kubectl wait --for=create pod -l "headrace.dev/job=$1" --timeout=60s
  kubectl wait --for=jsonpath='{.status.phase}'=Running pod -l "headrace.dev/job=$1" --timeout=60s
  pod=$(kubectl get pod -l "headrace.dev/job=$1" -o jsonpath='{.items[0].metadata.name}')
  account=$(kubectl get pod "$pod" -o jsonpath='{.spec.serviceAccountName}')
  kubectl exec "$pod" -- sh -c 'cat "$HEADRACE_TASK_FILE"' > pod-task.json
  kubectl create token "$account" --audience=headrace.dev/worker --bound-object-kind=Pod --bound-object-name="$pod" > token
  export HEADRACE_TASK_FILE=$PWD/pod-task.json HEADRACE_TOKEN_FILE=$PWD/token
}
