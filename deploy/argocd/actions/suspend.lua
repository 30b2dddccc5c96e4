-- Nothing new begins; what runs finishes.
obj.spec.suspend = true
return obj
