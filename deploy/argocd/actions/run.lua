-- Runs a source: the job that the parameter names (Argo CD 3.1), else the only one that the DAG has inline.
local os = require("os")
local wanted = actionParams ~= nil and actionParams["job"] or ""
if wanted == "" then
  for _, job in ipairs(obj.spec.jobs or {}) do
    if job.source ~= nil then
      if wanted ~= "" then
        error("this DAG has several sources: name one in the parameter job, or use headrace run")
      end
      wanted = job.name
    end
  end
end
if wanted == "" then
  error("this DAG has no inline source: name a job in the parameter job, or use headrace run")
end
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["headrace.dev/run"] = "argocd-" .. os.time() .. " " .. wanted
return obj
