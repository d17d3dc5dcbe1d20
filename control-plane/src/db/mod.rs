//! The database: one connection that writes, a few that read.
//!
//! SQLite has one writer at a time. A pool of one makes writers queue here, in order, instead of in SQLite's own
//! busy loop; transactions begin IMMEDIATE because a deferred one that turns into a writer fails at once.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqlitePool, Transaction};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How long a statement waits for another process (the command line beside the server).
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request waits for a connection before it is answered 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
const READERS: u32 = 4;

/// Why the database is of no use.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// Its folder could not be made.
    #[error("{path}: cannot create the data folder: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It could not be made, or may not be written.
    #[error("{path}: cannot open the database for writing: {source}")]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It could not be opened.
    #[error("{path}: cannot open the database: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: sqlx::Error,
    },
    /// The schema could not be brought up to date.
    #[error("{path}: cannot bring the schema up to date: {source}")]
    Migrate {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: MigrateError,
    },
}

impl DbError {
    /// Whether another program's start can be the cause.
    fn may_pass(&self) -> bool {
        match self {
            Self::Folder { .. } | Self::Create { .. } => false,
            Self::Open { source, .. } => is_busy(source),
            Self::Migrate { source, .. } => {
                matches!(source, MigrateError::Execute(_) | MigrateError::ExecuteMigration(..))
            }
        }
    }
}

/// Whether a statement failed because another connection was at it: SQLITE_BUSY or SQLITE_LOCKED, with their
/// extended codes; or because no connection came free.
pub fn is_busy(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut => true,
        sqlx::Error::Database(cause) => cause
            .code()
            .and_then(|code| code.parse::<i64>().ok())
            .is_some_and(|code| matches!(code & 0xff, 5 | 6)),
        _ => false,
    }
}

/// The open database.
#[derive(Clone, Debug)]
pub struct Db {
    writer: SqlitePool,
    reader: SqlitePool,
}

impl Db {
    /// Opens the file, makes it where it is missing, and brings its schema up to date.
    pub async fn open(path: &Path) -> Result<Self, DbError> {
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)
                .map_err(|source| DbError::Folder { path: folder.into(), source })?;
        }
        // SQLite gives its log and index the mode of the database: password hashes are in all three.
        let private = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        private.map_err(|source| DbError::Create { path: path.into(), source })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            // An acknowledged event is forgotten by the media server: it must outlive a power cut here.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true);
        let writer = prepare(path, &options).await?;
        let reader = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options.pragma("query_only", "1"))
            .await
            .map_err(|source| DbError::Open { path: path.into(), source })?;
        Ok(Self { writer, reader })
    }

    /// Begins a transaction that may write. It rolls back where it is dropped.
    pub async fn write(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        self.writer.begin_with("BEGIN IMMEDIATE").await
    }

    /// For statements that only read.
    pub fn read(&self) -> &SqlitePool {
        &self.reader
    }

    /// Whether a write would be possible now: takes the write lock and gives it back.
    pub async fn check_writable(&self) -> Result<(), sqlx::Error> {
        let mut tx = self.write().await?;
        sqlx::query("UPDATE users SET updated_at = updated_at WHERE id = ''").execute(&mut *tx).await?;
        tx.rollback().await
    }

    /// Ends the pools; what is committed is in the file.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

/// Opens the writer and brings the schema up to date.
///
/// Two programs may do that on a fresh folder at once. The switch to WAL does not wait for locks, and of two
/// migrations the later one finds its tables made: each fails whole, and at its next look nothing is left to do.
async fn prepare(path: &Path, options: &SqliteConnectOptions) -> Result<SqlitePool, DbError> {
    let mut attempts = 0;
    loop {
        match open_writer(path, options).await {
            Err(error) if attempts < 20 && error.may_pass() => {
                attempts += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            done => return done,
        }
    }
}

async fn open_writer(path: &Path, options: &SqliteConnectOptions) -> Result<SqlitePool, DbError> {
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(options.clone())
        .await
        .map_err(|source| DbError::Open { path: path.into(), source })?;
    match MIGRATIONS.run(&writer).await {
        Ok(()) => Ok(writer),
        Err(source) => {
            writer.close().await;
            Err(DbError::Migrate { path: path.into(), source })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn programs_that_start_at_once_on_a_fresh_folder_all_get_a_schema() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/cp.db");
        let mut starts = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let path = path.clone();
            starts.spawn(async move { Db::open(&path).await.map(|_| ()) });
        }
        while let Some(started) = starts.join_next().await {
            started.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn readers_cannot_write() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&folder.path().join("cp.db")).await.unwrap();
        db.check_writable().await.unwrap();
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let mode = file.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "nobody else reads the database");
        }
        assert!(sqlx::query("DELETE FROM users").execute(db.read()).await.is_err());
    }

    #[tokio::test]
    async fn a_database_of_a_newer_release_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cp.db");
        let db = Db::open(&path).await.unwrap();
        let mut tx = db.write().await.unwrap();
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'future', 1, x'00', 0)",
        )
        .execute(&mut *tx)
        .await
        .unwrap();
        tx.commit().await.unwrap();
        let error = Db::open(&path).await.unwrap_err();
        assert!(matches!(error, DbError::Migrate { .. }), "{error}");
    }
}
