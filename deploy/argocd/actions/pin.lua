-- Stays at a version, whatever is applied, until unpin: that of the parameter (Argo CD 3.1), else the one that serves.
local os = require("os")
local version = (obj.status or {}).version or {}
local wanted = actionParams ~= nil and actionParams["yamlHash"] or ""
if wanted == "" then
  wanted = version.yamlHash or error("no version serves yet")
end
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["headrace.dev/pin"] = "argocd-" .. os.time() .. " " .. wanted
return obj
