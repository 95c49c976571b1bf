#!/usr/bin/with-contenv bashio
# Options and Home Assistant's broker, as variables of the environment: they go before the station file.
set -euo pipefail

station="/config/$(bashio::config 'station')"
if [ ! -f "${station}/station.toml" ]; then
    lineside new "${station}" --template "$(bashio::config 'template')"
fi

LINESIDE_MQTT__HOST="$(bashio::services mqtt 'host')"
LINESIDE_MQTT__PORT="$(bashio::services mqtt 'port')"
LINESIDE_MQTT__USERNAME="$(bashio::services mqtt 'username')"
LINESIDE_MQTT__PASSWORD="$(bashio::services mqtt 'password')"
LINESIDE_MQTT__TLS="$(bashio::services mqtt 'ssl')"
LINESIDE_HOME_ASSISTANT__DISCOVERY_PREFIX="$(bashio::config 'discovery_prefix')"
export LINESIDE_MQTT__HOST LINESIDE_MQTT__PORT LINESIDE_MQTT__USERNAME LINESIDE_MQTT__PASSWORD LINESIDE_MQTT__TLS
export LINESIDE_HOME_ASSISTANT__DISCOVERY_PREFIX
export LINESIDE_STATION__DATA=/data

exec lineside --log text --log-level "$(bashio::config 'log_level')" run -c "${station}/station.toml"
