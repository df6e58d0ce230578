package chengine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// The engine shares a small machine with everything else: half of the memory at most, small caches, few idle threads. The
// two fsync settings let an acknowledged insert survive a power cut.
const serverConfig = `<clickhouse>
  <logger><level>warning</level><log>%[1]s</log><errorlog>%[1]s</errorlog><size>10M</size><count>2</count></logger>
  <users_config>%[2]s</users_config>
  <listen_host>127.0.0.1</listen_host>
  <http_handlers>
    <rule>
      <headers><Authorization>regex:.+</Authorization></headers>
      <handler><type>dynamic_query_handler</type><query_param_name>query</query_param_name></handler>
    </rule>
    <rule>
      <url>regex:^/(\?.*)?$</url>
      <handler><type>dynamic_query_handler</type><query_param_name>query</query_param_name><user>reader</user></handler>
    </rule>
    <defaults/>
  </http_handlers>
  %[3]s
  <mark_cache_size>134217728</mark_cache_size>
  <uncompressed_cache_size>0</uncompressed_cache_size>
  <index_mark_cache_size>67108864</index_mark_cache_size>
  <background_schedule_pool_size>16</background_schedule_pool_size>
  <max_thread_pool_size>2000</max_thread_pool_size>
  <merge_tree>
    <fsync_after_insert>1</fsync_after_insert>
    <fsync_part_directory>1</fsync_part_directory>
  </merge_tree>
</clickhouse>
`

// Programs on this machine may do everything: as default, by the native protocol or by name over HTTP. A request over HTTP that
// names nobody comes from anywhere, any page open in a browser included: it is the reader's, who reads the tables and does nothing
// else, looks at no file and fetches no URL.
const usersConfig = `<clickhouse>
  <profiles><default/><reader><readonly>2</readonly></reader></profiles>
  <quotas><default/></quotas>
  <users>
    <default>
      <no_password/>
      <networks><ip>127.0.0.1</ip><ip>::1</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
    </default>
    <reader>
      <no_password/>
      <networks><ip>127.0.0.1</ip><ip>::1</ip></networks>
      <profile>reader</profile>
      <quota>default</quota>
      <grants>
        <query>GRANT SELECT ON waymark.*</query>
        <query>GRANT SELECT ON waymark_store.*</query>
        <query>GRANT SELECT ON system.*</query>
        <query>GRANT SELECT ON information_schema.*</query>
        <query>GRANT SHOW ON *.*</query>
      </grants>
    </reader>
  </users>
</clickhouse>
`

func (e *Engine) configFile() string { return filepath.Join(e.c.Dir, "config.xml") }

func (e *Engine) writeConfig() error {
	users := filepath.Join(e.c.Dir, "users.xml")
	memory := "<max_server_memory_usage_to_ram_ratio>0.5</max_server_memory_usage_to_ram_ratio>"
	if e.c.MemoryBytes > 0 {
		memory = fmt.Sprintf("<max_server_memory_usage>%d</max_server_memory_usage>", e.c.MemoryBytes)
	}
	return errors.Join(
		os.WriteFile(users, []byte(usersConfig), 0o600),
		os.WriteFile(e.configFile(), fmt.Appendf(nil, serverConfig, e.logFile(), users, memory), 0o600),
	)
}
