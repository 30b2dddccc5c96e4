-- Work begins again.
obj.spec.suspend = false
return obj
