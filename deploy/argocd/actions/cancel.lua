-- Cancels everything that waits, runs or has failed for good, the rollout included.
local os = require("os")
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["headrace.dev/cancel"] = "argocd-" .. os.time() .. " --all"
return obj
