//! A PostgreSQL server for the tests: one private cluster for each test
//! process, a fresh database for each test.
//!
//! `ENGINE_TEST_POSTGRES_URL` names a server to use instead (its role must be
//! allowed to create databases). The cluster lies in a folder of its own,
//! listens on loopback only, on a port of its own, and is ended by a guard
//! that waits for this process to be gone, however it goes.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection};

/// A database that no other test uses.
pub(crate) struct Database {
    /// `postgres://…/name`, for the engine.
    pub(crate) url: String,
}

impl Database {
    /// Makes an empty database.
    pub(crate) async fn fresh() -> Database {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("engine_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let server = server();
        let mut admin = connect(server).await;
        let create = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'");
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut admin).await.expect("a fresh database is made");
        let (address, options) = server.split_once('?').map_or((server, String::new()), |(a, o)| (a, format!("?{o}")));
        let (host, _) = address.rsplit_once('/').expect("the server's URL ends in a database");
        Database { url: format!("{host}/{name}{options}") }
    }

    /// A connection of another writer's.
    pub(crate) async fn connect(&self) -> PgConnection {
        connect(&self.url).await
    }

    /// Runs statements as another writer.
    pub(crate) async fn run(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.connect().await).await.unwrap_or_else(|error| {
            panic!("{error}\n{sql}");
        });
    }
}

async fn connect(url: &str) -> PgConnection {
    let options: PgConnectOptions = url.parse().expect("a PostgreSQL URL");
    options.connect().await.unwrap_or_else(|error| panic!("the test server does not answer: {error}"))
}

/// The server's URL, ending in a database to connect to.
fn server() -> &'static str {
    static SERVER: OnceLock<String> = OnceLock::new();
    SERVER.get_or_init(|| match std::env::var_os("ENGINE_TEST_POSTGRES_URL") {
        Some(url) => url.into_string().expect("ENGINE_TEST_POSTGRES_URL is text"),
        None => start("postgres", |_| {}),
    })
}

/// A server of its own that speaks TLS only.
pub(crate) struct TlsServer {
    /// `127.0.0.1:port`, the address in its certificate. It answers at
    /// 127.0.0.2 as well, which is not.
    pub(crate) port: u16,
    /// The certificate of the authority that has signed the server's.
    pub(crate) authority: PathBuf,
    /// That of another authority.
    pub(crate) stranger: PathBuf,
}

pub(crate) fn tls_server() -> &'static TlsServer {
    static SERVER: OnceLock<TlsServer> = OnceLock::new();
    SERVER.get_or_init(|| TlsServer::start("server"))
}

impl TlsServer {
    /// Starts a server that shows this certificate: `server`, or that of an
    /// authority as its own.
    pub(crate) fn start(shown: &str) -> TlsServer {
        let mut certificates = PathBuf::new();
        let url = start(&format!("postgres-tls-{shown}"), |data| {
            certificates = data.parent().expect("the data lies in the server's folder").join("certificates");
            certify(&certificates);
            for end in ["pem", "key"] {
                std::fs::copy(certificates.join(format!("{shown}.{end}")), data.join(format!("server.{end}")))
                    .expect("the server's certificate is in place");
            }
            let own = data.join("server.key");
            std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o600)).expect("a key of its owner's");
            if is_root() {
                output(Command::new("chown").arg("postgres").arg(own));
            }
            let settings = "listen_addresses = '127.0.0.1,127.0.0.2'\nssl = on\n\
                            ssl_cert_file = 'server.pem'\nssl_key_file = 'server.key'\n";
            std::fs::write(data.join("postgresql.auto.conf"), settings).expect("the server's settings are in place");
            let who = "local all all trust\nhostssl all all 127.0.0.0/8 trust\n";
            std::fs::write(data.join("pg_hba.conf"), who).expect("the server's clients are in place");
        });
        let port = url.split(['/', ':']).find_map(|part| part.parse().ok()).expect("a port");
        let [authority, stranger] = ["authority.pem", "stranger.pem"].map(|file| certificates.join(file));
        TlsServer { port, authority, stranger }
    }
}

/// Two authorities, and a certificate for 127.0.0.1 that the first has signed.
fn certify(folder: &Path) {
    std::fs::create_dir_all(folder).expect("a folder for certificates");
    let openssl = |arguments: &str| {
        output(Command::new("openssl").current_dir(folder).args(arguments.split(' ')));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for name in ["authority", "stranger"] {
        openssl(&format!("req -x509 {key} -keyout {name}.key -out {name}.pem -days 30 -subj /CN={name}"));
    }
    openssl(&format!("req {key} -keyout server.key -out server.csr -subj /CN=server"));
    std::fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1").expect("the names are in place");
    openssl(
        "x509 -req -in server.csr -CA authority.pem -CAkey authority.key -CAcreateserial -extfile names -days 30 \
         -out server.pem",
    );
}

fn is_root() -> bool {
    output(Command::new("id").arg("-u")).trim() == "0"
}

/// Starts a server in a folder of its own. `settle` sees its data before it
/// runs.
fn start(name: &str, settle: impl FnOnce(&Path)) -> String {
    let programs = programs();
    let folder = std::env::temp_dir().join(format!("engine-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the test server");
    let is_root = is_root();
    if is_root {
        output(Command::new("chown").arg("postgres").arg(&folder));
    }
    let data = folder.join("data");
    let as_user = |program: &str| {
        let program = programs.join(program);
        let mut command = if is_root {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(&folder);
        command
    };
    guard(&folder, &data, &as_user("pg_ctl"));
    output(
        as_user("initdb")
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-D"])
            .arg(&data),
    );
    settle(&data);
    // Somebody else may take the port between this line and the start; then
    // the start fails, and says so.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
    let settings = format!(
        "-p {port} -k {} -c max_connections=100 -c max_prepared_transactions=10 \
         -c fsync=off -c synchronous_commit=off -c full_page_writes=off",
        folder.display()
    );
    output(
        as_user("pg_ctl").arg("-D").arg(&data).args(["-w", "-o", &settings, "-l"]).arg(folder.join("log")).arg("start"),
    );
    format!("postgres://postgres@127.0.0.1:{port}/postgres")
}

/// A process that does nothing until our end of its standard input is closed,
/// which the system does when this process ends in any way; then it stops the
/// cluster and takes the folder away, again where `initdb` was still at it.
#[expect(clippy::zombie_processes, reason = "it outlives us: it ends because we do")]
fn guard(folder: &Path, data: &Path, stop: &Command) {
    let stop: Vec<String> =
        std::iter::once(stop.get_program()).chain(stop.get_args()).map(|word| word.to_string_lossy().into()).collect();
    let script = r#"cat > /dev/null; data="$1"; folder="$2"; shift 2
        "$@" -D "$data" -m immediate stop
        for again in 1 2 3 4 5; do rm -rf "$folder"; sleep 1; [ -e "$folder" ] || break; done"#;
    let mut guard = Command::new("sh")
        .args(["-c", script, "guard"])
        .arg(data)
        .arg(folder)
        .args(stop)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the guard of the test server starts");
    std::mem::forget(guard.stdin.take());
}

/// The folder of the newest server installed.
fn programs() -> PathBuf {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = debian
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, programs)| programs.join("initdb").exists())
        .collect();
    versions.sort();
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&on_path).find(|folder| folder.join("initdb").exists());
    versions.pop().map(|(_, programs)| programs).or(on_path).expect(
        "PostgreSQL is not installed: install the server (on Debian: apt-get install postgresql), \
         or name one in ENGINE_TEST_POSTGRES_URL",
    )
}

fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
