package main

// nodeConfig is a node with everything in it; ADDRESS is where clients find it in clear. hssConfig is an HSS alone for foreign CSCFs.
const (
	nodeConfig = `
[node]
lab = true
data_dir = "{{.Dir}}/store"
shards = 1
[ims]
domain = "{{.Domain}}"
[ci.lab_udp]
listen = ["ADDRESS:5060"]
[ci.digest_md5]
enabled = true
[hss]
sealing_key_file = "{{.Dir}}/sealing.key"
[metrics]
listen = ""
[log]
level = "error"
`
	hssConfig = `
[node]
lab = true
data_dir = "{{.Dir}}/store"
shards = 1
roles = ["hss"]
[ims]
domain = "{{.Domain}}"
[cx]
listen = "` + hssAt + `:3868"
clients = ["icscf.{{.Domain}}", "scscf.{{.Domain}}"]
lab_cleartext_keys = true
[hss]
sealing_key_file = "{{.Dir}}/sealing.key"
[metrics]
listen = ""
[log]
level = "error"
`
)

// wide are budgets that no load reaches: what a check costs is the same.
const wide = `
[budget]
calls = 0
messages = 0
subscriptions = 0
transfers = 0
notifications = 0
others = 0
{{range $b := .Budgets}}[ci.budget.{{$b}}]
limit = 1000000
per = "1s"
burst = 1000000
{{end}}`
