# Ingests documents and does chores: reads departments' secrets, writes nothing.

path "secret/data/chatgrid/production/dept/*" {
  capabilities = ["read"]
}
