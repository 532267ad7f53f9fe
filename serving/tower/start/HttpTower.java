import io.netty.util.internal.logging.InternalLoggerFactory;
import io.netty.util.internal.logging.Slf4JLoggerFactory;
import org.apache.commons.cli.DefaultParser;
import org.pytorch.serve.ModelServer;
import org.pytorch.serve.metrics.MetricCache;
import org.pytorch.serve.servingsdk.impl.PluginsManager;
import org.pytorch.serve.util.ConfigManager;
import org.pytorch.serve.util.TokenAuthorization;

/**
 * TorchServe without its gRPC servers. ModelServer.startAndWait of 0.12 starts them whatever the settings say: one of
 * them manages models, on a port of loopback, for every user of the machine, and whoever manages models runs code.
 */
public final class HttpTower extends ModelServer {
    private HttpTower(ConfigManager settings) {
        super(settings);
    }

    /** Opens nothing. ModelServer's stop() takes servers that were never started for stopped. */
    @Override
    public void startGRPCServers() {}

    public static void main(String[] arguments) {
        try {
            ConfigManager.init(
                    new ConfigManager.Arguments(
                            new DefaultParser().parse(ConfigManager.Arguments.getOptions(), arguments)));
            TokenAuthorization.init();
            PluginsManager.getInstance().initialize();
            MetricCache.init();
            InternalLoggerFactory.setDefaultFactory(Slf4JLoggerFactory.INSTANCE);
            HttpTower server = new HttpTower(ConfigManager.getInstance());
            Runtime.getRuntime().addShutdownHook(new Thread(server::stop));
            server.startAndWait();
        } catch (Throwable error) {
            error.printStackTrace();
        } finally {
            System.exit(1);
        }
    }
}
