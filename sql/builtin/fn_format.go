package builtin

func registerFormat(l library) {}
