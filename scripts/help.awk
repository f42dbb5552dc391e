# Lists a Makefile's tasks (`name: … ## what it does`, under `##@ heading`) and variables (`NAME ?= default# what it is`).
/^##@/ { print "\n" substr($0, 5) }
/^[a-z -]+:.*## / {
  name = $0; sub(/:.*/, "", name)
  text = $0; sub(/.*## /, "", text)
  printf "  make %-23s %s\n", name, text
}
/^[A-Z_]+ *\?=.*#/ {
  name = $1
  default_value = $0; sub(/^[^=]*= */, "", default_value); sub(/ *#.*/, "", default_value)
  text = $0; sub(/^[^#]*# */, "", text)
  variables = variables sprintf("  %-28s %s%s\n", name, text, default_value == "" ? "" : " [" default_value "]")
}
END { printf "\nVariables [default]\n%s", variables }
