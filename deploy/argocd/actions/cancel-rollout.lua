-- Gives the rollout up that is under way: the version that serves goes on serving.
local os = require("os")
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["headrace.dev/cancel"] = "argocd-" .. os.time() .. " --rollout"
return obj
