"""A package, so that its tests can share one site: a fixture of the scope "package" needs one."""
