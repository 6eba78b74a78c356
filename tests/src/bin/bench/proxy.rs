//! An Envoy with the shared bootstrap, without TLS, and with listeners beside the edge's that
//! answer in other ways.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lockgate_e2e::client::plain_get;
use lockgate_e2e::envoy::Bootstrap;
use lockgate_e2e::process::Process;
use lockgate_e2e::{artifacts, ports};
use serde_json::{Value, json};

const MANAGER: &str = "/filter_chains/0/filters/0/typed_config";

/// A bootstrap that can still be changed.
pub struct Config {
    tree: Value,
    /// Where the filter under test listens.
    pub edge: SocketAddr,
    admin: SocketAddr,
}

impl Config {
    /// The shared bootstrap; only the TLS of the listener is taken away.
    pub fn new(bootstrap: &Bootstrap) -> Result<Self> {
        let mut tree: Value = serde_saphyr::from_str(&bootstrap.render()?).context("envoy.yaml")?;
        let chain = at(&mut tree, "/static_resources/listeners/0/filter_chains/0")?;
        chain.as_object_mut().context("a filter chain")?.remove("transport_socket");
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, bootstrap.admin_port));
        Ok(Self { tree, edge: bootstrap.edge, admin })
    }

    /// A copy of the edge's listener with other filters and one route for everything.
    pub fn listener(
        &mut self,
        name: &str,
        filters: Vec<Value>,
        action: Value,
    ) -> Result<SocketAddr> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?));
        let mut listener = at(&mut self.tree, "/static_resources/listeners/0")?.clone();
        *at(&mut listener, "/name")? = json!(name);
        *at(&mut listener, "/address/socket_address/port_value")? = json!(address.port());
        let mut route = json!({"match": {"prefix": "/"}});
        merge(&mut route, action)?;
        let manager = at(&mut listener, MANAGER)?;
        let router = at(manager, "/http_filters")?
            .as_array()
            .and_then(|all| all.last())
            .cloned()
            .context("the router")?;
        *at(manager, "/http_filters")? =
            Value::Array(filters.into_iter().chain([router]).collect());
        *at(manager, "/route_config/virtual_hosts/0/routes")? = json!([route]);
        *at(manager, "/stat_prefix")? = json!(name);
        push(at(&mut self.tree, "/static_resources/listeners")?, listener)?;
        Ok(address)
    }

    /// A copy of the gate's cluster for another socket.
    pub fn cluster(&mut self, name: &str, socket: &Path) -> Result<()> {
        let mut cluster = at(&mut self.tree, "/static_resources/clusters/0")?.clone();
        *at(&mut cluster, "/name")? = json!(name);
        *at(&mut cluster, "/load_assignment/cluster_name")? = json!(name);
        *at(
            &mut cluster,
            "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/pipe/path",
        )? = json!(socket);
        push(at(&mut self.tree, "/static_resources/clusters")?, cluster)
    }

    /// The filter under test `count` times, each in VMs of its own; 0 leaves a listener without
    /// any.
    pub fn copies(&mut self, count: usize) -> Result<()> {
        let listener = at(&mut self.tree, "/static_resources/listeners/0")?;
        let manager = at(listener, MANAGER)?;
        let filters = at(manager, "/http_filters")?.as_array_mut().context("the filters")?;
        let original = filters.remove(0);
        for number in (0..count).rev() {
            let mut copy = original.clone();
            if number > 0 {
                *at(&mut copy, "/name")? = json!(format!("copy-{number}"));
                *at(&mut copy, "/typed_config/config/vm_config/vm_id")? =
                    json!(format!("copy-{number}"));
            }
            filters.insert(0, copy);
        }
        if count == 0 {
            for route in at(manager, "/route_config/virtual_hosts/0/routes")?
                .as_array_mut()
                .context("the routes")?
            {
                route.as_object_mut().context("a route")?.remove("typed_per_filter_config");
            }
        }
        Ok(())
    }
}

/// Collects the body before the next filter runs, so that an answer does not end the connection.
pub fn buffer() -> Value {
    json!({
        "name": "envoy.filters.http.buffer",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer", "max_request_bytes": 131_072}
    })
}

/// A wasm filter that lets everything pass.
pub fn noop(module: &Path) -> Value {
    json!({
        "name": "noop",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": "noop",
                "root_id": "noop",
                "vm_config": {"vm_id": "noop", "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": module}}}
            }
        }
    })
}

/// An answer by Envoy itself, as long as ours.
pub fn direct(status: u16) -> Value {
    let body = r#"{"type":"about:blank","title":"Unauthorized","status":401,"detail":"the request is not authentic for this path"}"#;
    json!({"direct_response": {"status": status, "body": {"inline_string": body}}})
}

/// Whatever the cluster answers.
pub fn forward(cluster: &str) -> Value {
    json!({"route": {"cluster": cluster}})
}

/// A running Envoy. Dropping it ends it.
pub struct Proxy {
    process: Process,
    /// From the start of the process until it says that it is ready.
    pub started_in: Duration,
}

impl Proxy {
    /// Starts Envoy with two workers in `folder`.
    pub fn start(folder: &Path, config: &Config) -> Result<Self> {
        let file = folder.join("envoy-bench.json");
        fs::write(&file, serde_json::to_vec(&config.tree)?)?;
        let mut command = Command::new(artifacts::envoy()?);
        command
            .arg("-c")
            .arg(&file)
            .args(["--concurrency", "2", "--disable-hot-restart", "--log-level", "error"])
            .current_dir(folder);
        let started = Instant::now();
        let process = Process::start("envoy", command, &folder.join("envoy-bench.log"))?;
        while !plain_get(config.admin, "/ready").is_ok_and(|answer| answer.status == 200) {
            if started.elapsed() > Duration::from_secs(30) {
                bail!("Envoy is not ready\n{}", process.tail(30));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(Self { process, started_in: started.elapsed() })
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

fn at<'a>(tree: &'a mut Value, pointer: &str) -> Result<&'a mut Value> {
    tree.pointer_mut(pointer).with_context(|| format!("envoy.yaml has nothing at {pointer}"))
}

fn push(list: &mut Value, item: Value) -> Result<()> {
    list.as_array_mut().context("a list")?.push(item);
    Ok(())
}

fn merge(into: &mut Value, from: Value) -> Result<()> {
    if let (Some(into), Value::Object(from)) = (into.as_object_mut(), from) {
        into.extend(from);
        return Ok(());
    }
    bail!("two objects")
}
