import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;

/** Runs the statements of a file of SQL, twice and with two numbers of events, and tells what the more events took. */
public class Run {
    public static void main(String[] args) throws Exception {
        String sql = Files.readString(Path.of(args[0]));
        String parallelism = args[1];
        long few = Long.parseLong(args[2]);
        long many = Long.parseLong(args[3]);
        // What the JVM compiles is compiled by then.
        took(sql, parallelism, few);
        double[] begin = took(sql, parallelism, few);
        double[] end = took(sql, parallelism, many);
        System.out.printf("{\"events\":%d,\"wall_s\":%.3f,\"cpu_s\":%.3f}%n", many - few, end[0] - begin[0], end[1] - begin[1]);
        System.exit(0);
    }

    static double[] took(String sql, String parallelism, long events) throws Exception {
        Configuration settings = new Configuration();
        settings.setString("parallelism.default", parallelism);
        settings.setString("pipeline.object-reuse", "true");
        TableEnvironment tables =
                TableEnvironment.create(EnvironmentSettings.newInstance().inStreamingMode().withConfiguration(settings).build());
        var system = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        long began = System.nanoTime();
        long cpu = system.getProcessCpuTime();
        for (String statement : sql.replace("${EVENTS_NUM}", Long.toString(events)).split(";")) {
            if (statement.isBlank()) {
                continue;
            }
            var result = tables.executeSql(statement);
            if (statement.strip().toUpperCase().startsWith("INSERT")) {
                result.await();
            }
        }
        return new double[] {(System.nanoTime() - began) / 1e9, (system.getProcessCpuTime() - cpu) / 1e9};
    }
}
